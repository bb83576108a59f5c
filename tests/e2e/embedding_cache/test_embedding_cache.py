"""Real vLLM with the embedding cache: which pictures its encoder runs for, and that answers stay what they were."""

from contextlib import ExitStack
from pathlib import Path

from tests.conftest import DEMO_MODEL
from tests.e2e.embedding_cache.engine import ITEMS, NAMES, Engine, name_of, wait_for_entries
from tests.e2e.embedding_cache.flipped import flip_one_bit


def test_pictures_are_encoded_once_by_two_engines_and_answers_stay_the_same(engines: tuple[Engine, Engine]) -> None:
    one, two = engines
    cold = one.answers()
    assert (one.encoded, one.found("disk"), one.found("shared")) == (NAMES, 0, 0)
    assert one.answers() == cold
    assert one.encoded == NAMES

    wait_for_entries(one.shared, map(name_of, ITEMS))
    warm = two.answers()
    assert (two.encoded, two.found("shared")) == (0, NAMES)  # of another checkpoint, with the same tower
    assert two.answers("-never-seen") == warm
    assert two.encoded == NAMES


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


def test_of_two_ranks_both_load_and_one_writes(tmp_path: Path) -> None:
    items = ITEMS[:8]
    with ExitStack() as stack:
        engine = Engine("two", DEMO_MODEL, tmp_path / "kept", tmp_path / "shared", stack, ranks=2)
        engine.start()
        engine.wait()
        cold = engine.answers(items=items)
        wait_for_entries(engine.kept, map(name_of, items))
        engine.push_out()
        encoded = engine.encoded
        assert engine.answers(items=items) == cold
        assert (engine.encoded, engine.found("disk")) == (encoded, len(items))
        engine.ask([], "?", 1)
        assert engine.figure('reads_total{.*tier="host"') == 2 * len(items)
        assert engine.figure('reads_total{.*tier="disk"') == len(items)
        assert engine.stop() == 0
        assert len(list(engine.kept.rglob("*.emb"))) == encoded
