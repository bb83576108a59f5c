import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from quantize import push as pushes
from quantize import run as runs
from quantize.architecture import find_architecture
from quantize.checkpoint import read_config
from quantize.cli import app
from quantize.durable import hash_file
from quantize.errors import PlanViolated, PushFailed, UsageError
from quantize.plan import make_plan
from quantize.push import Destination, parse_destination, push
from quantize.recipe import read_recipe
from tests.fakes.registry import FakeRegistry, serving
from tests.unit.quantize.checkpoints import toy, write_shards


@pytest.fixture
def made(tmp_path: Path) -> Path:
    source = write_shards(tmp_path / "m", toy(), 2)
    (source / "sub").mkdir()
    (source / "sub" / "notes.txt").write_text("x")
    plan = make_plan(source, read_recipe("fp8-dynamic"), find_architecture(read_config(source)))
    runs.run_plan(plan, tmp_path / "made", "stream", 1, True, {}, lambda _: None)
    return tmp_path / "made"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as registry:
        yield registry


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def silent(_: str) -> None:
    pass


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("/mnt/models/x", Destination("folder", "/mnt/models/x")),
        ("hf://Org/Name-1.0", Destination("hub", "Org/Name-1.0")),
        ("oci://registry.example.com/team/name:1.0", Destination("oci", "registry.example.com/team/name:1.0")),
        ("s3://models/team/x/", Destination("bucket", "models/team/x")),
        ("oci+http://localhost:5000/name:latest", Destination("oci", "localhost:5000/name:latest", insecure=True)),
    ],
)
def test_destinations_are_read(text: str, destination: Destination) -> None:
    assert parse_destination(text) == destination


@pytest.mark.parametrize(
    "text", ["ftp://x/y", "hf://name", "oci://host/name", "oci://host:5000", "oci://host/Name:1", "s3://B"]
)
def test_what_is_no_destination_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no destination: a folder, hf://ORG/NAME, oci:"):
        parse_destination(text)


def test_a_folder_gets_every_file_and_no_other(made: Path, tmp_path: Path) -> None:
    assert push(made, Destination("folder", str(tmp_path / "there" / "x")), silent) == len(files(made))
    assert files(tmp_path / "there" / "x") == files(made)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["x"]
    with pytest.raises(UsageError, match="exists already"):
        push(made, Destination("folder", str(tmp_path / "there" / "x")), silent)


def test_a_folder_that_came_out_different_is_not_put_in_place(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pushes, "copy_file", lambda _, target: (target.parent.mkdir(exist_ok=True), target.write_text(""))
    )
    with pytest.raises(PushFailed, match=r"does not hold what was sent: SHA256SUMS, config\.json"):
        push(made, Destination("folder", str(tmp_path / "there")), silent)
    assert not (tmp_path / "there").exists()


def test_what_is_not_what_the_sums_describe_does_not_leave(made: Path, tmp_path: Path) -> None:
    (made / "tokenizer.json").write_text("{ }")
    with pytest.raises(PlanViolated, match=r"nothing was sent:\n  tokenizer\.json: is not the file"):
        push(made, Destination("folder", str(tmp_path / "there")), silent)
    with pytest.raises(UsageError, match="is not a finished checkpoint"):
        push(tmp_path, Destination("folder", str(tmp_path / "there")), silent)


def test_a_registry_holds_each_file_under_its_own_hash(made: Path, registry: FakeRegistry) -> None:
    there = parse_destination(f"oci+http://{registry.host}/team/toy:1")
    push(made, there, silent)
    manifest = json.loads(registry.manifests["1"])
    named = {layer["annotations"]["org.opencontainers.image.title"]: layer for layer in manifest["layers"]}
    assert {name: registry.blobs[layer["digest"]] for name, layer in named.items()} == files(made)
    assert all(layer["size"] == len(registry.blobs[layer["digest"]]) for layer in named.values())
    sent = registry.uploads
    push(made, there, silent)
    assert registry.uploads == sent


def test_a_registry_that_lost_a_layer_is_found_out(made: Path, registry: FakeRegistry) -> None:
    registry.lost = {f"sha256:{hash_file(made / 'config.json')}"}
    with pytest.raises(PushFailed, match=r"does not hold what was sent: config\.json: run the same command again"):
        push(made, parse_destination(f"oci+http://{registry.host}/toy:1"), silent)


def test_a_registry_that_is_not_there_is_one_sentence(made: Path) -> None:
    told = CliRunner().invoke(app, ["push", str(made), "oci+http://127.0.0.1:9/toy:1"])
    assert told.exit_code == 17
    assert "fovea-quantize: 127.0.0.1:9/toy:1 cannot be written: " in told.output
    assert "Traceback" not in told.output


class Hub:
    """What of the hub's library a push calls; `spoil` changes a file on the way."""

    def __init__(self, spoil: str | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.spoil = spoil

    def create_repo(self, _: str, exist_ok: bool) -> None:
        assert exist_ok

    def upload_folder(self, repo_id: str, folder_path: Path, allow_patterns: list[str]) -> None:
        for name in allow_patterns:
            self.files[name] = (folder_path / name).read_bytes() + (b"!" if name == self.spoil else b"")

    def list_repo_tree(self, _: str, recursive: bool) -> Iterator[SimpleNamespace]:
        assert recursive
        yield SimpleNamespace(path="sub")
        for name, data in self.files.items():
            large = name.endswith(".safetensors")
            lfs = SimpleNamespace(sha256=hashlib.sha256(data).hexdigest()) if large else None
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            yield SimpleNamespace(path=name, lfs=lfs, blob_id=blob)


@pytest.mark.parametrize("spoil", [None, "config.json", "model-00001-of-00002.safetensors"])
def test_the_hub_is_compared_with_what_it_lists(
    made: Path, monkeypatch: pytest.MonkeyPatch, spoil: str | None
) -> None:
    """Against a stand-in for its library: no test here reaches the hub."""
    hub = Hub(spoil)
    monkeypatch.setattr(pushes, "library", lambda _: SimpleNamespace(HfApi=lambda: hub))
    if spoil is None:
        push(made, parse_destination("hf://org/toy"), silent)
        assert hub.files == files(made)
    else:
        with pytest.raises(PushFailed, match=f"org/toy does not hold what was sent: {spoil}"):
            push(made, parse_destination("hf://org/toy"), silent)
