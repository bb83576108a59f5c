"""Against a hub and a registry in this process, and a bucket in memory: no test here reaches the network."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from huggingface_hub import constants
from obstore.store import MemoryStore
from typer.testing import CliRunner

from quantize import fetch as fetches
from quantize import push as pushes
from quantize import run as runs
from quantize import staging
from quantize.architecture import find_architecture
from quantize.checkpoint import read_config
from quantize.cli import app
from quantize.durable import hash_file
from quantize.errors import (
    DamagedManifest,
    DamagedShard,
    DiskError,
    OutputBusy,
    PullFailed,
    UnsupportedCheckpoint,
    UsageError,
)
from quantize.fetch import Tally
from quantize.manifest import REPORT, SUMS, update_report
from quantize.origins import bucket as buckets
from quantize.origins.bucket import Bucket, credentials, read_profile
from quantize.origins.folder import Folder
from quantize.origins.hub import Hub
from quantize.origins.origin import SourceFile, SourceLost, after
from quantize.origins.registry import Registry
from quantize.plan import make_plan
from quantize.pull import is_noted, note_of, parse_origin, pull
from quantize.push import parse_destination, push
from quantize.recipe import read_recipe
from tests.fakes.hub import FakeHub, serving_hub
from tests.fakes.registry import FakeRegistry, serving
from tests.unit.quantize.checkpoints import toy, write_checkpoint, write_shards


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    source = write_shards(tmp_path / "m", toy(), 2)
    (source / "sub").mkdir()
    (source / "sub" / "notes.txt").write_text("x")
    (source / "README.md").write_text("a card")
    plan = make_plan(source, read_recipe("fp8-dynamic"), find_architecture(read_config(source)))
    runs.run_plan(plan, tmp_path / "made", "stream", 1, True, {}, lambda _: None)
    return tmp_path / "made"


@pytest.fixture
def hub(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(fetches, "FIRST_WAIT_S", 0.0)
    with serving_hub("org/toy", files(made)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
        yield hub


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as registry:
        yield registry


class Said(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


def bring(source: str, target: Path, workers: int = 2) -> Said:
    said = Said()
    pull(source, target, None, workers, said)
    return said


@pytest.mark.parametrize(
    ("text", "kind", "where"),
    [
        ("/mnt/models/x", Folder, "/mnt/models/x"),
        ("hf://Org/Name-1.0", Hub, "Org/Name-1.0"),
        ("hf://Org/Name@refs/pr/1", Hub, "Org/Name@refs/pr/1"),
        ("oci://registry.example.com/team/name:1.0", Registry, "registry.example.com/team/name:1.0"),
        (f"oci://localhost:5000/name@sha256:{'a' * 64}", Registry, f"localhost:5000/name@sha256:{'a' * 64}"),
        ("s3://models/team/x/", Bucket, "s3://models/team/x"),
        ("s3://models", Bucket, "s3://models"),
    ],
)
def test_sources_are_read(text: str, kind: type, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    if kind is Bucket:
        with pytest.raises(UsageError, match=r"cannot be asked: .*Missing SecretAccessKey \(see AWS_ACCESS_KEY_ID"):
            parse_origin(text, None)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    origin = parse_origin(text, None)
    assert (type(origin), origin.where) == (kind, where)


@pytest.mark.parametrize(
    "text", ["ftp://x/y", "hf://name", "oci://host/name", "s3://", "s3://UPPER/x", "hf://a/b@"]
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no source: hf://ORG/NAME"):
        parse_origin(text, None)


def test_a_folder_is_brought_whole_and_is_then_there(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "there" / "x"
    assert "each checked by its digest" in bring(str(made), target)[-1]
    assert files(target) == files(made)
    assert sorted(path.name for path in target.parent.iterdir()) == [".x.pulled", "x"]
    made.rename(tmp_path / "gone")
    assert bring(str(made), target) == [f"{target} is there already, whole, from {made}: nothing to do"]


def test_what_is_there_is_not_read_again_unless_it_changed(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "x"
    bring(str(made), target)
    update_report(target, "sight", {"verdict": "green"})  # the gate may
    assert is_noted(target, str(made))
    assert not is_noted(target, "hf://org/other")
    (target / "config.json").touch()
    assert not is_noted(target, str(made))
    assert "is what" in bring(str(made), target)[-1]  # looked at, and noted again
    assert is_noted(target, str(made))
    (target / "tokenizer.json").write_text("other")
    with pytest.raises(UsageError, match=r"x exists already, and its tokenizer\.json is not that of"):
        bring(str(made), target)
    assert (target / "tokenizer.json").read_text() == "other"


@pytest.mark.parametrize("damage", ["", "nonsense", "[]", '{"source": 1}', '{"source": "S", "files": {}}'])
def test_a_note_that_is_none_is_not_believed(tmp_path: Path, damage: str) -> None:
    (tmp_path / "x").mkdir()
    note_of(tmp_path / "x").write_text(damage.replace("S", "hf://o/n"))
    assert not is_noted(tmp_path / "x", "hf://o/n")


def test_the_hub_is_read_by_its_own_digests_and_its_other_formats_are_left(hub: FakeHub, tmp_path: Path) -> None:
    whole = dict(hub.files)
    del hub.files[SUMS]
    hub.files |= {"pytorch_model.bin": b"x", ".gitattributes": b"x", "original/a.pth": b"x"}
    assert "each checked by its digest" in bring("hf://org/toy", tmp_path / "x")[-1]
    assert files(tmp_path / "x") == {name: data for name, data in whole.items() if name != SUMS}


def test_a_card_that_was_edited_on_the_hub_is_taken_as_it_is(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["README.md"] = b"edited"
    bring("hf://org/toy", tmp_path / "x")
    assert (tmp_path / "x" / "README.md").read_bytes() == b"edited"


def test_what_is_not_what_sha256sums_says_is_refused_before_it_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    name = next(name for name in hub.files if name.endswith(".safetensors"))
    hub.files[name] = hub.files[name][:-1] + b"!"
    with pytest.raises(PullFailed, match=f"{name} of org/toy is not the file that its SHA256SUMS describes"):
        bring("hf://org/toy", tmp_path / "x")
    assert {asked for asked, _ in hub.asked} == {SUMS}


def test_what_arrives_damaged_is_thrown_away_and_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    for name in ("config.json", next(name for name in hub.files if name.endswith(".safetensors"))):
        hub.lies = {name: hub.files[name][:-1] + b"!"}
        with pytest.raises(PullFailed, match=f"{name} of org/toy is other than its digest says"):
            bring("hf://org/toy", tmp_path / name, workers=1)
        assert not (tmp_path / name).exists()
        hub.lies = {}
        bring("hf://org/toy", tmp_path / name)
        assert files(tmp_path / name) == hub.files


def test_a_source_that_breaks_off_again_and_again_is_read_on_from_there(hub: FakeHub, tmp_path: Path) -> None:
    hub.most = 200
    sums, hub.files = hub.files.pop(SUMS), {**hub.files}
    del hub.files[REPORT]
    assert sums
    bring("hf://org/toy", tmp_path / "x")
    assert files(tmp_path / "x") == hub.files
    assert any(start > 0 for _, start in hub.asked)


def test_a_source_that_gives_nothing_any_more_is_given_up(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files[SUMS]
    hub.most = 0
    with pytest.raises(PullFailed, match=r"org/toy cannot be read \(.*\): the same command goes on here"):
        bring("hf://org/toy", tmp_path / "x", workers=1)
    assert max(hub.asked.count(each) for each in hub.asked) == fetches.TRIES


@pytest.mark.parametrize(
    ("source", "says"),
    [("hf://org/none", r"is not there \(404\)"), ("hf://org/toy@v9", r"org/toy@v9 is not there \(404\)")],
)
def test_what_the_hub_does_not_have_is_one_sentence(hub: FakeHub, tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(PullFailed, match=says):
        bring(source, tmp_path / "x")
    hub.gated = True
    with pytest.raises(PullFailed, match=r"may not be read \(it answers 401\): .*HF_TOKEN"):
        bring("hf://org/toy", tmp_path / "x")


def test_what_was_pushed_to_a_registry_comes_back(made: Path, registry: FakeRegistry, tmp_path: Path) -> None:
    where = f"oci+http://{registry.host}/team/toy:1"
    push(made, parse_destination(where), lambda _: None)
    bring(where, tmp_path / "x")
    assert files(tmp_path / "x") == files(made)


def test_a_registry_that_lost_a_layer_is_one_sentence_and_the_rest_stays(
    made: Path, registry: FakeRegistry, tmp_path: Path
) -> None:
    where = f"oci+http://{registry.host}/team/toy:1"
    push(made, parse_destination(where), lambda _: None)
    registry.lost = {f"sha256:{hash_file(made / 'tokenizer.json')}"}
    with pytest.raises(PullFailed, match=r"tokenizer\.json of .*/team/toy:1 is not there \(404\)"):
        bring(where, tmp_path / "x", workers=1)
    registry.lost = set()
    assert bring(where, tmp_path / "x")[0].startswith("going on: ")


def test_what_a_registry_holds_beside_checkpoints_is_none(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.manifests["1"] = b'{"layers": [{"digest": "sha256:%s", "size": 1}]}' % (b"a" * 64)
    with pytest.raises(PullFailed, match="holds no checkpoint that fovea-quantize push has written"):
        bring(f"oci+http://{registry.host}/team/toy:1", tmp_path / "x")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    monkeypatch.setattr(buckets, "open_bucket", lambda *_: store)
    monkeypatch.setattr(pushes, "open_bucket", lambda *_: store)
    return store


def test_what_was_pushed_to_a_bucket_comes_back(made: Path, bucket: MemoryStore, tmp_path: Path) -> None:
    push(made, parse_destination("s3://models/toy"), lambda _: None)
    bring("s3://models/toy", tmp_path / "x")
    assert files(tmp_path / "x") == files(made)


def test_what_a_bucket_has_already_is_not_sent_again(
    made: Path, bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    put = obstore.put

    def count(store: MemoryStore, name: str, *arguments: Any, **options: Any) -> Any:
        sent.append(name)
        return put(store, name, *arguments, **options)

    monkeypatch.setattr(obstore, "put", count)
    push(made, parse_destination("s3://models/toy"), lambda _: None)
    assert sorted(sent) == sorted(files(made))
    assert sent[-1] == SUMS
    sent.clear()
    push(made, parse_destination("s3://models/toy"), lambda _: None)
    assert sent == []
    update_report(made, "sight", {"verdict": "green"})
    push(made, parse_destination("s3://models/toy"), lambda _: None)
    assert sent == [REPORT, SUMS]


def test_a_bucket_without_sums_is_held_to_sizes_and_headers(
    made: Path, bucket: MemoryStore, tmp_path: Path
) -> None:
    push(made, parse_destination("s3://models/toy"), lambda _: None)
    obstore.delete(bucket, SUMS)
    assert "only sizes and headers were checked" in bring("s3://models/toy", tmp_path / "x")[-1]
    name = next(name for name in files(made) if name.endswith(".safetensors"))
    obstore.put(bucket, name, files(made)[name][:-1])
    with pytest.raises(DamagedShard, match="is cut short"):
        bring("s3://models/toy", tmp_path / "y")
    assert not (tmp_path / ".y.part").exists()  # what may have been damaged on the way is not gone on with


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "journal.jsonl", "lock", "a\nb", "a//b"])
def test_a_name_that_leads_elsewhere_is_refused(hub: FakeHub, tmp_path: Path, name: str) -> None:
    hub.files[name] = b"x"
    with pytest.raises(PullFailed, match="which has no place in a checkpoint"):
        bring("hf://org/toy", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_sums_that_are_damaged_or_promise_more_are_refused(made: Path, tmp_path: Path) -> None:
    (made / "tokenizer.json").unlink()
    with pytest.raises(PullFailed, match=r"does not hold tokenizer\.json, which its SHA256SUMS promises"):
        bring(str(made), tmp_path / "x")
    (made / SUMS).write_text("nonsense\n")
    with pytest.raises(DamagedManifest, match=r"SHA256SUMS of .* is damaged"):
        bring(str(made), tmp_path / "x")


def test_what_is_no_checkpoint_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    with pytest.raises(UnsupportedCheckpoint, match=r"holds no checkpoint: no config\.json with"):
        bring(str(tmp_path / "a"), tmp_path / "x")
    with pytest.raises(PullFailed, match="is no folder"):
        bring(str(tmp_path / "none"), tmp_path / "x")


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: os.statvfs_result)
    monkeypatch.setattr(os.statvfs_result, "free", 1000, raising=False)
    with pytest.raises(DiskError, match=r"has 0\.00 GB free, 0\.02 are needed"):
        bring("hf://org/toy", tmp_path / "x")
    assert {asked for asked, _ in hub.asked} == {SUMS}


def test_two_pulls_into_one_folder_do_not_meet(made: Path, tmp_path: Path) -> None:
    with staging.staged(None, tmp_path / "x", {"pull": str(made)}), pytest.raises(OutputBusy):
        bring(str(made), tmp_path / "x")


def test_what_was_replaced_meanwhile_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was noted as done, and what had been begun, are of the old files."""
    source, target = write_checkpoint(tmp_path / "s", toy()), tmp_path / "x"
    (source / "tokenizer.json").write_text("[]")
    monkeypatch.setattr(fetches, "FIRST_WAIT_S", 0.0)
    read = Folder.read

    def break_off(self: Folder, file: SourceFile, start: int) -> Iterator[bytes]:
        if file.name != "tokenizer.json":
            yield from read(self, file, start)
            return
        if not start:
            yield b"["
        raise SourceLost("gone")

    monkeypatch.setattr(Folder, "read", break_off)
    with pytest.raises(PullFailed, match=r"cannot be read \(gone\)"):
        bring(str(source), target, workers=1)  # the largest first
    monkeypatch.setattr(Folder, "read", read)
    weights = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(weights[:-1] + b"!")
    (source / "tokenizer.json").write_text("{}")
    for name in ("model.safetensors", "tokenizer.json"):
        os.utime(source / name, ns=(1, 1))
    assert bring(str(source), target)[0].startswith("going on: 1 of 3 files are here")
    assert files(target) == files(source)


def test_a_beginning_that_an_earlier_try_left_is_not_fetched_again(made: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    class Watched(Folder):
        def read(self, file: SourceFile, start: int) -> Iterator[bytes]:
            asked.append(start)
            yield from super().read(file, start)

    data = (made / "config.json").read_bytes()
    file = SourceFile("config.json", len(data), "i")
    part = tmp_path / "part"
    for left, first in ((data[:3], 3), (b"", 0), (data + b"longer", 0)):
        part.write_bytes(left)
        digest = fetches.fetch(Watched(made), file, part, Tally(len(data), lambda _: None))
        assert (digest, part.read_bytes()) == (hashlib.sha256(data).hexdigest(), data)
        assert asked.pop() == first
    part.write_bytes(data)
    fetches.fetch(Watched(made), file, part, Tally(len(data), lambda _: None))
    assert asked == []


def test_who_knows_no_ranges_answers_with_all_of_it() -> None:
    chunks = [b"abc", b"", b"def", b"g"]
    assert b"".join(after(4, 200, chunks)) == b"efg"
    assert b"".join(after(4, 206, chunks)) == b"abcdefg"
    assert b"".join(after(7, 200, chunks)) == b""


def test_where_nobody_watches_progress_is_a_line_now_and_then() -> None:
    said, now = Said(), [0.0]
    with Tally(2_000_000_000, said, lambda: now[0]) as tally:
        tally.add(500_000_000, found=True)
        for seconds in (1, 29, 30, 40, 50):
            now[0] = seconds
            tally.add(100_000_000)
    assert said == ["0.80 of 2.00 GB (40%), 10 MB/s"]


def test_credentials_are_the_environments_or_a_profiles(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = a%b\naws_secret_access_key = b\n[profile x]\nregion = r\n")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(path), "AWS_CONFIG_FILE": str(path)}
    assert credentials(environ) == {"access_key_id": "a%b", "secret_access_key": "b"}
    given = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    assert credentials(environ | given) == {"access_key_id": "k", "secret_access_key": "s", "session_token": "t"}
    assert credentials(environ | {"AWS_PROFILE": "none"}) == {}
    assert credentials(environ | {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}) == {}
    assert read_profile(environ | {"AWS_PROFILE": "x"}, "AWS_CONFIG_FILE", "config") == {"region": "r"}
    path.write_text("no section")
    assert credentials(environ) == {}


def test_the_command_ends_with_the_errors_own_code(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["pull", str(tmp_path / "none"), str(tmp_path / "x")])
    assert told.exit_code == 18
    assert told.output == f"fovea-quantize: {tmp_path / 'none'} is no folder\n"
    assert CliRunner().invoke(app, ["pull", "ftp://x", str(tmp_path / "x")]).exit_code == 2
