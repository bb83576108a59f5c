"""Real vLLM with the embedding cache: which pictures its encoder runs for, and that answers stay what they were."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from server.engine.encoder_cache.entry import key_of
from tests.conftest import DEMO_MODEL
from tests.e2e.embedding_cache.engine import ITEMS, NAMES, SPOILT, Engine, name_of
from tests.e2e.embedding_cache.flipped import flip_one_bit


def test_pictures_are_encoded_once_by_two_engines_and_over_a_restart_and_answers_stay_the_same(
    engines: tuple[Engine, Engine],
) -> None:
    one, two = engines
    cold = one.answers()
    assert (one.encoded, one.found("disk"), one.found("shared")) == (NAMES, 0, 0)
    assert one.answers() == cold
    assert one.encoded == NAMES

    wait_for_files(one.shared, NAMES)
    warm = two.answers()
    assert (two.encoded, two.found("shared")) == (0, NAMES)  # of another checkpoint, with the same tower
    assert two.answers("-never-seen") == warm
    assert two.encoded == NAMES

    wait_for_files(one.kept, NAMES)
    assert one.stop() == 0
    spoil(one)
    one.start()
    one.wait()
    assert one.answers() == cold
    assert (one.encoded, one.found("disk")) == (SPOILT, NAMES - SPOILT)
    assert one.errors("checksum") == SPOILT  # half of them in either folder
    assert one.errors("truncated") == SPOILT

    others = one.push_out()
    assert one.answers() == cold
    assert (one.encoded, one.found("host")) == (SPOILT + others, NAMES - SPOILT)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one.answer, ITEMS))
    assert one.encoded == SPOILT + others


def test_a_checkpoint_with_one_flipped_bit_in_its_tower_finds_nothing(
    engines: tuple[Engine, Engine], tmp_path: Path
) -> None:
    one, _ = engines
    items = ITEMS[:3]
    one.answers(items=items)
    with ExitStack() as stack:
        flipped = Engine("flipped", flip_one_bit(tmp_path / "model"), one.kept, one.shared, stack)
        flipped.start()
        flipped.wait()
        flipped.answers(items=items)
        assert (flipped.encoded, flipped.found("disk"), flipped.found("shared")) == (len(items), 0, 0)


def wait_for_files(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(list(folder.rglob("*.emb"))) < count:
        assert time.monotonic() < deadline, "what was encoded is not written"
        time.sleep(0.2)


def spoil(engine: Engine) -> None:
    """A bit of each of some entries is flipped, or the end is cut off: wherever the engine could find them."""
    for n, item in enumerate(ITEMS[:SPOILT]):
        for folder in (engine.kept, engine.shared):
            (path,) = folder.rglob(f"{key_of(name_of(item))}.emb")
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path.write_bytes(data if n % 2 else data[:-100])


def test_of_two_ranks_both_load_and_one_writes(tmp_path: Path) -> None:
    items = ITEMS[:8]
    with ExitStack() as stack:
        engine = Engine("two", DEMO_MODEL, tmp_path / "kept", tmp_path / "shared", stack, ranks=2)
        engine.start()
        engine.wait()
        cold = engine.answers(items=items)
        wait_for_files(engine.kept, len(items))
        engine.push_out()
        encoded = engine.encoded
        assert engine.answers(items=items) == cold
        assert (engine.encoded, engine.found("disk")) == (encoded, len(items))
        engine.ask([], "?", 1)
        assert engine.figure('reads_total{.*tier="host"') == 2 * len(items)
        assert engine.figure('reads_total{.*tier="disk"') == len(items)
        assert engine.stop() == 0
        assert len(list(engine.kept.rglob("*.emb"))) == encoded
