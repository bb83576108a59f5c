"""A deleted file's picture is forgotten by every engine that keeps embeddings: `fovea engine`'s own middleware
around fake ones."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.engine.encoder_cache.forgetting import PATH, Forgets
from tests.contract.files.conftest import CHAT, KEYS, put, sdk
from tests.contract.test_faults import wait_until
from tests.fakes.engine import FakeEngine, images_in
from tests.fakes.gateway import gateway, metric
from tests.fakes.serve import serving
from tests.pictures import animation, chat, image_part, noise

PICTURE, OTHER = noise(size=(80, 70)), noise(size=(60, 90))
# So small that detail: low makes a rendition of its own.
IMAGES = {"low_detail_pixels": 1024}


class KeepingEngine:
    """Keeps the name of every picture that it was sent; `broken` answers that it could not forget."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.broken = 0
        self.told: list[list[str]] = []
        self.forgotten: set[str] = set()
        self.app = Forgets(self.engine.app, lambda _: self._forget)  # type: ignore[arg-type]

    def _forget(self, names: Sequence[str]) -> int:
        self.told.append(list(names))
        if self.broken:
            self.broken -= 1
            return len(names)
        self.forgotten |= set(names)
        return 0

    @property
    def sent(self) -> set[str]:
        return {part["uuid"] for body in self.engine.chats for part in images_in(body)}


class WithApp:
    """Starlette puts itself into the scope, which middleware around it only sees within."""

    def __init__(self, engine: KeepingEngine) -> None:
        self._engine = engine

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._engine.app({**scope, "app": self._engine}, receive, send)


@contextmanager
def behind(folder: Path, *engines: KeepingEngine, **sections: Any) -> Iterator[str]:
    with ExitStack() as stack:
        urls = [stack.enter_context(serving(WithApp(each))) for each in engines]
        files = {"path": folder, "tenant_files": 50}
        sections["images"] = IMAGES | sections.get("images", {})
        with gateway(*urls, auth={"key_hashes": KEYS}, files=files, **sections) as url:
            yield url


def ask(url: str, *parts: dict[str, Any], key: str = "ann") -> None:
    answer = httpx2.post(url + CHAT, json=chat(*parts), headers={"authorization": f"Bearer {key}"}, timeout=30)
    assert answer.status_code == 200, answer.text


def named(file_id: str, detail: str = "auto") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": file_id, "detail": detail}}


def told(url: str, outcome: str) -> float:
    return metric(url, f'fovea_embeddings_forgotten_total{{outcome="{outcome}"}}')


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("data", [PICTURE, animation("GIF", 3)], ids=["png", "gif"])
def test_every_engine_forgets_a_deleted_file_under_all_names_that_it_was_sent_under(
    tmp_path: Path, isolate: bool, data: bytes
) -> None:
    engines = KeepingEngine(), KeepingEngine()
    with behind(tmp_path, *engines, images={"isolate_tenants": isolate}) as url, sdk(url) as ann:
        file = put(ann, data)
        for detail in ("auto", "high", "low"):
            ask(url, named(file.id, detail))
        names = engines[0].sent | engines[1].sent
        assert len(names) == 2
        ann.files.delete(file.id)
        for each in engines:
            wait_until(lambda each=each: names <= each.forgotten)  # type: ignore[misc]
        wait_until(lambda: told(url, "forgotten") == sum(len(each.forgotten) for each in engines))


def test_a_picture_is_kept_while_another_file_of_its_tenant_holds_it(tmp_path: Path) -> None:
    engine = KeepingEngine()
    with behind(tmp_path, engine) as url, sdk(url) as ann, sdk(url, "bob") as bob:
        first, second, other = put(ann, PICTURE), put(ann, PICTURE), put(ann, OTHER)
        put(bob, PICTURE)  # under a name of its own
        ask(url, named(first.id))
        ann.files.delete(first.id)
        ann.files.delete(other.id)
        wait_until(lambda: len(engine.told) == 1)  # of the other
        assert not engine.sent & engine.forgotten
        ann.files.delete(second.id)
        wait_until(lambda: engine.sent <= engine.forgotten)


def test_where_tenants_share_names_anybodys_file_keeps_the_picture(tmp_path: Path) -> None:
    engine = KeepingEngine()
    with (
        behind(tmp_path, engine, images={"isolate_tenants": False}) as url,
        sdk(url) as ann,
        sdk(url, "bob") as bob,
    ):
        anns, bobs, other = put(ann, PICTURE), put(bob, PICTURE), put(ann, OTHER)
        ask(url, named(anns.id))
        ann.files.delete(anns.id)
        ann.files.delete(other.id)
        wait_until(lambda: len(engine.told) == 1)
        assert not engine.sent & engine.forgotten
        bob.files.delete(bobs.id)
        wait_until(lambda: engine.sent <= engine.forgotten)


def test_a_deleted_files_picture_is_sent_with_its_bytes_when_it_comes_again(tmp_path: Path) -> None:
    engine = KeepingEngine()
    with behind(tmp_path, engine) as url, sdk(url) as ann:
        file = put(ann, PICTURE)
        ask(url, named(file.id))
        ask(url, named(file.id))
        ann.files.delete(file.id)
        wait_until(lambda: engine.sent <= engine.forgotten)
        ask(url, image_part(PICTURE))
        came = [part["image_url"] is not None for body in engine.engine.chats for part in images_in(body)]
        assert came == [True, False, True]


def test_an_engine_that_cannot_is_told_again(tmp_path: Path) -> None:
    engine = KeepingEngine()
    engine.broken = 1
    with behind(tmp_path, engine) as url, sdk(url) as ann:
        file = put(ann, PICTURE)
        ask(url, named(file.id))
        assert ann.files.delete(file.id).deleted
        wait_until(lambda: engine.sent <= engine.forgotten)
        assert engine.told[0] == engine.told[1]
        assert told(url, "failed") == len(engine.told[0])


def test_engines_that_keep_nothing_are_told_once(tmp_path: Path) -> None:
    with serving(FakeEngine().app) as stock:
        files = {"path": tmp_path}
        with gateway(stock, auth={"key_hashes": KEYS}, files=files, images=IMAGES) as url, sdk(url) as ann:
            ann.files.delete(put(ann, PICTURE).id)
            wait_until(lambda: told(url, "none_kept") == 2)
            assert told(url, "failed") == 0


def test_a_deletion_is_answered_though_no_engine_is(tmp_path: Path) -> None:
    files = {"path": tmp_path}
    with gateway("http://127.0.0.1:9", wait=False, auth={"key_hashes": KEYS}, files=files) as url, sdk(url) as ann:
        file = put(ann, PICTURE)
        assert ann.files.delete(file.id).deleted
        wait_until(lambda: told(url, "failed") > 0)


def test_a_file_of_which_nothing_is_known_is_deleted_as_any_other(tmp_path: Path) -> None:
    """From before facts were written down."""
    engine = KeepingEngine()
    with behind(tmp_path, engine) as url, sdk(url) as ann:
        old, new = put(ann, PICTURE), put(ann, OTHER)
        forget_facts(tmp_path / "catalogue.sqlite", old.id)
        assert ann.files.delete(old.id).deleted
        assert ann.files.delete(new.id).deleted
        wait_until(lambda: len(engine.told) == 1)


def forget_facts(catalogue: Path, file_id: str) -> None:
    connection = sqlite3.connect(catalogue)
    with connection:
        connection.execute("UPDATE files SET facts = '' WHERE id = ?", (file_id,))
    connection.close()


def test_no_caller_reaches_the_engines_own_way_of_forgetting(tmp_path: Path) -> None:
    engine = KeepingEngine()
    with behind(tmp_path, engine) as url:
        headers = {"authorization": "Bearer ann"}
        answer = httpx2.post(url + PATH, json={"digests": ["a"]}, headers=headers)
        assert answer.status_code == 404
        assert engine.told == []
