"""Two real engines share embeddings behind one gateway: one is killed under load, and what was written stays."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from demo.processes import running
from server.domain import ANONYMOUS_NAME
from server.engine.encoder_cache.entry import key_of
from server.images.digest import identify
from server.together import free_port
from tests.e2e.embedding_cache.engine import ITEMS, NAMES, Engine, name_of, wait_for_entries
from tests.e2e.load import Load, ask, wait_until
from tests.fakes.gateway import metric
from tests.pictures import picture

CALLERS = 3
PAUSE_S = 3.0  # of each caller, as long as an engine starts: that needs a core, too
SPOILT = 6


def pictures(count: int, blue: int) -> list[bytes]:
    """Which no engine has seen."""
    return [picture(size=(96, 96), colour=f"#{5 * number:02x}40{blue:02x}") for number in range(count)]


# So many that either engine is home to some of them, whatever their ports are.
KNOWN = pictures(24, blue=11)


def names_of(shown: list[bytes]) -> list[str]:
    return [identify(each, ANONYMOUS_NAME) for each in shown]


@pytest.fixture(scope="module")
def url(engines: tuple[Engine, Engine]) -> Iterator[str]:
    port = free_port()
    options = ("--engine", engines[0].url, "--engine", engines[1].url, "--port", str(port))
    settings = {"FOVEA_ENGINES__POLL_S": "0.5", "FOVEA_ENGINES__SLOW_START_S": "0"}
    with running("server", "gateway", *options, FOVEA_HTTP__DRAIN_GRACE_S="0", **settings) as gateway:
        for name in ("engine-0", "engine-1"):
            gateway.wait_for(f"{name} is ready", 60)
        yield f"http://127.0.0.1:{port}"


def wait_for_engines(url: str, number: int) -> None:
    names = ('fovea_engine_ready{engine="engine-0"}', 'fovea_engine_ready{engine="engine-1"}')
    wait_until(lambda: sum(metric(url, name) for name in names) == number)


def test_an_engine_that_is_killed_and_comes_back_under_load_encodes_nothing_that_was_written(
    engines: tuple[Engine, Engine], url: str
) -> None:
    one, two = engines
    cold = one.answers()
    before = one.encoded + two.encoded
    with httpx2.Client(timeout=120) as http:
        for number in range(len(KNOWN)):
            assert ask(http, "demo", number, stream=False, urls=[url], pictures=KNOWN).how == "whole"
    assert one.encoded + two.encoded == before + len(KNOWN)
    wait_for_entries(one.shared, names_of(KNOWN))
    for folder in (one.kept, one.shared):
        wait_for_entries(folder, map(name_of, ITEMS))

    encoded = two.encoded
    with Load([url], "demo", KNOWN).running(CALLERS) as load:
        load.wait_for_more(len(KNOWN))
        one.kill()
        load.wait_for_more(len(KNOWN))
        spoil(one)
        load.pause_s = PAUSE_S
        one.start()
        one.wait()
        load.pause_s = 0
        wait_for_engines(url, 2)
        wait_until(lambda: one.found("disk") > 0)  # its pictures have come home
        load.wait_for_more(len(KNOWN))
    assert (one.encoded, two.encoded) == (0, encoded)

    found = one.found("disk")
    assert one.answers() == cold
    assert (one.encoded, one.found("disk") - found) == (SPOILT, NAMES - SPOILT)
    assert one.errors("checksum") == SPOILT  # half of them in either folder
    assert one.errors("truncated") == SPOILT
    found = one.found("host")
    others = one.push_out("after-a-restart")
    assert one.answers() == cold
    assert (one.encoded, one.found("host") - found) == (SPOILT + others, NAMES - SPOILT)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one.answer, ITEMS))
    assert one.encoded == SPOILT + others


def spoil(engine: Engine) -> None:
    """A bit of each of some entries is flipped, or the end is cut off: wherever the engine could find them."""
    for n, item in enumerate(ITEMS[:SPOILT]):
        for folder in (engine.kept, engine.shared):
            # Another model's, too, where one was asked about the same pictures.
            paths = list(folder.rglob(f"{key_of(name_of(item))}.emb"))
            assert paths
            for path in paths:
                data = bytearray(path.read_bytes())
                data[-100] ^= 1
                path.write_bytes(data if n % 2 else data[:-100])
