"""Files in a real S3 store, shared by gateways that share nothing else. The engine is a fake."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import obstore
import openai
import pytest
from obstore.store import S3Store

from tests.contract.test_faults import metric, wait_until
from tests.fakes.engine import FakeEngine
from tests.fakes.gateway import gateway
from tests.fakes.serve import serving
from tests.pictures import chat, data_url, noise, picture
from tests.seaweed import KEY, SECRET, Seaweed, find_weed

RED = picture(colour="red")
BUCKET = "pictures"


@pytest.fixture(scope="module")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    program = find_weed()
    if program is None:
        pytest.skip("SKIPPED: no SeaweedFS: make setup, or put weed on the PATH")
    server = Seaweed(program, tmp_path_factory.mktemp("seaweed"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def bucket(seaweed: Seaweed, credentials: None, tmp_path: Path) -> S3Store:
    """What is in the bucket under this test's own prefix."""
    obstore.put(S3Store(BUCKET, endpoint=seaweed.url, client_options={"allow_http": True}), "made", b"")
    return S3Store(BUCKET, prefix=tmp_path.name, endpoint=seaweed.url, client_options={"allow_http": True})


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def files_of(seaweed: Seaweed, tmp_path: Path, name: str, **options: Any) -> dict[str, Any]:
    return {
        "path": tmp_path / name,
        "s3_bucket": BUCKET,
        "s3_prefix": tmp_path.name,
        "s3_endpoint": seaweed.url,
        "tenant_files": 20,
        "max_uploads": 40,
        **options,
    }


@pytest.fixture
def urls(seaweed: Seaweed, bucket: S3Store, engine: FakeEngine, tmp_path: Path) -> Iterator[list[str]]:
    """Two gateways with a folder each."""
    with ExitStack() as stack:
        url = stack.enter_context(serving(engine.app))
        yield [
            stack.enter_context(gateway(url, files=files_of(seaweed, tmp_path, name))) for name in ("one", "two")
        ]


def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=5, timeout=60)


def put(client: openai.OpenAI, data: bytes = RED) -> Any:
    return client.files.create(file=("a.png", data), purpose="vision")


def names(bucket: S3Store, prefix: str) -> list[str]:
    return [each["path"] for batch in obstore.list(bucket, prefix) for each in batch]


def parts(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("*/incoming/*/*.part"))


def test_a_file_uploaded_at_one_gateway_is_there_at_the_other(
    urls: list[str], bucket: S3Store, engine: FakeEngine, tmp_path: Path
) -> None:
    one, two = map(sdk, urls)
    file = put(one)
    assert two.files.retrieve(file.id) == file
    assert two.files.content(file.id).read() == RED
    assert put(two).id != file.id
    assert len(names(bucket, "blobs")) == 1
    answer = httpx2.post(
        f"{urls[1]}/v1/chat/completions", json=chat({"type": "file", "file": {"file_id": file.id}})
    )
    assert answer.status_code == 200
    assert engine.chats[0]["messages"][0]["content"][0]["image_url"]["url"] == data_url(RED)
    for each in one.files.list():
        two.files.delete(each.id)
    assert list(one.files.list()) == []
    assert names(bucket, "blobs") == parts(tmp_path) == []


def test_a_file_that_is_sent_in_several_pieces_comes_back_whole(urls: list[str]) -> None:
    data = noise(size=(1600, 1400))
    assert len(data) > 5 * 1024**2  # what the client sends at once
    file = put(sdk(urls[0]), data)
    assert sdk(urls[1]).files.content(file.id).read() == data


def test_the_quota_is_exact_whoever_uploads_where(urls: list[str], bucket: S3Store) -> None:
    """Thirty uploads of ten pictures over two gateways at once, twenty places."""
    clients = [sdk(url) for url in urls]

    def upload(n: int) -> str | None:
        try:
            return str(put(clients[n % 2], picture(size=(n % 10 + 1, 7))).id)
        except openai.PermissionDeniedError:
            return None

    with ThreadPoolExecutor(6) as pool:
        made = [each for each in pool.map(upload, range(30)) if each]
        assert len(made) == 20
        assert {each.id for each in clients[0].files.list()} == set(made)
        assert len(names(bucket, "blobs")) <= 10
        deleted = pool.map(lambda pair: clients[pair[0] % 2].files.delete(pair[1]), enumerate(made))
        assert all(each.deleted for each in deleted)
    assert list(clients[1].files.list()) == []
    assert names(bucket, "blobs") == []


def test_a_store_that_refuses_us_is_a_503_and_nothing_is_half_there(
    seaweed: Seaweed, bucket: S3Store, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = files_of(seaweed, tmp_path, "missing", s3_bucket="no-such-bucket")
    with serving(engine.app) as url, gateway(url, files=missing) as refused:
        check_failing(refused, tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with serving(engine.app) as url, gateway(url, files=files_of(seaweed, tmp_path, "wrong")) as refused:
        check_failing(refused, tmp_path)
    assert names(bucket, "") == []


def test_a_store_that_goes_away_and_comes_back_has_lost_nothing(
    urls: list[str], seaweed: Seaweed, bucket: S3Store, tmp_path: Path
) -> None:
    kept = put(sdk(urls[0]))
    seaweed.stop()
    check_failing(urls[0], tmp_path)
    assert httpx2.post(f"{urls[0]}/v1/chat/completions", json=chat()).status_code == 200
    seaweed.start()
    wait_until(lambda: sdk(urls[0]).files.retrieve(kept.id).id == kept.id)
    assert [each.id for each in sdk(urls[1]).files.list()] == [kept.id]
    assert sdk(urls[1]).files.content(kept.id).read() == RED
    assert len(names(bucket, "blobs")) == 1


def check_failing(url: str, tmp_path: Path) -> None:
    client = sdk(url).with_options(max_retries=0)
    failures = metric(url, 'fovea_files_failures_total{kind="failed",place="s3"}')
    for act in (client.files.list, lambda: put(client), lambda: client.files.retrieve("file-" + "0" * 44)):
        with pytest.raises(openai.InternalServerError) as caught:
            act()
        assert (caught.value.status_code, caught.value.code) == (503, "file_store_failed")
        assert "127.0.0.1" not in caught.value.message
    assert metric(url, 'fovea_files_failures_total{kind="failed",place="s3"}') >= failures + 3
    assert parts(tmp_path) == []
