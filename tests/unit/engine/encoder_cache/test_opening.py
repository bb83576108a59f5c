from pathlib import Path

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.figures import of_reading, of_tiers, of_writing
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.opening import open_reading, open_shared, open_tiers, open_writer
from server.engine.encoder_cache.options import Options
from server.engine.encoder_cache.prometheus import COUNTERS, GAUGES
from server.engine.encoder_cache.redis_tier import RedisTier
from tests.unit.engine.encoder_cache.test_scheduling import SETUP

NAMESPACE = SETUP.namespace
KEY = key_of("cat")
EMBEDDING = Embedding(KEY, (2, 4), "bfloat16", "raw", memoryview(bytes(range(16))), 0.0)


def test_what_is_nobody_else_s_is_kept_out_of_the_shared_tier(tmp_path: Path) -> None:
    options = Options(folder=str(tmp_path / "mine"), shared=str(tmp_path / "ours"))
    mine = open_tiers(options, NAMESPACE, True, {})
    both = open_tiers(options, NAMESPACE, False, {})
    for tier in [*mine, *both]:
        tier.close()
    assert [tier.name for tier in mine] == ["disk"]
    assert [tier.name for tier in both] == ["disk", "shared"]


def test_a_url_is_a_store_and_all_else_a_folder(tmp_path: Path) -> None:
    store = open_shared(Options(shared="redis://127.0.0.1:1"), NAMESPACE, None)
    folder = open_shared(Options(shared=str(tmp_path)), NAMESPACE, None)
    store.close()
    folder.close()
    assert isinstance(store, RedisTier)
    assert isinstance(folder, FolderTier)


def test_what_the_writer_has_written_the_reader_finds_and_both_tell_of_it(tmp_path: Path) -> None:
    options = Options(folder=str(tmp_path / "kept"), shared=str(tmp_path / "shared"))
    writing = open_writer(options, NAMESPACE, False, {})
    assert writing.behind.offer(KEY, lambda: EMBEDDING, 16)
    assert writing.behind.drain(20)
    written, _ = of_writing(writing)
    writing.close(5)
    assert written["written_bytes|disk"] > 0
    assert written["dropped|saving"] == 0

    arena = Arena.create(1 << 20, "test", [tmp_path])
    reading = open_reading(options, arena, NAMESPACE, False, 0.25, {})
    assert reading.lookups.look(KEY) == "looking"
    while reading.lookups.look(KEY) == "looking":
        pass
    held = reading.lookups.pin(KEY)
    assert held is not None
    read, state = of_reading(reading, True)
    reading.lookups.unpin(KEY)
    reading.close()
    assert (held.tier, held.shape) == ("disk", (2, 4))
    assert (read["reads|disk"], state["entries|host"], state["on"]) == (1, 1, 1)
    for figure in [*read, *written]:
        name, *labels = figure.split("|")
        assert len(labels) == len(COUNTERS[name][0])
    for figure in state:
        name, *labels = figure.split("|")
        assert len(labels) == len(GAUGES[name][0])


def test_an_error_that_reads_and_writes_have_alike_counts_for_both(tmp_path: Path) -> None:
    tier = FolderTier(tmp_path, NAMESPACE, 1 << 20)
    tier.close()
    tier.figures.bad["permission"], tier.figures.failures["permission"] = 2, 3
    assert of_tiers([tier])["errors|disk|permission"] == 5
