from collections import Counter
from dataclasses import dataclass

from blake3 import blake3

from server.engines.affinity import home, make_seed, pick, spread

KEYS = [blake3(f"picture-{i}".encode()).hexdigest() for i in range(2000)]


@dataclass(eq=False, slots=True)
class Some:
    name: str
    running: int = 0
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.seed = make_seed(self.name)


def make_engines(count: int = 5) -> list[Some]:
    return [Some(f"http://10.0.0.{i}:8000") for i in range(count)]


def test_an_engines_keys_are_the_same_in_every_gateway() -> None:
    """Written down: a gateway of another version beside this one must choose alike."""
    engines = make_engines()
    assert make_seed("http://10.0.0.0:8000") == 0x28764222BB9D60D
    assert [pick(key, engines).name for key in KEYS[:50]] == [pick(key, engines[::-1]).name for key in KEYS[:50]]


def test_an_engine_that_leaves_moves_only_its_own_pictures() -> None:
    engines = make_engines()
    before = {key: pick(key, engines) for key in KEYS}
    after = {key: pick(key, engines[:-1]) for key in KEYS}
    assert all(after[key] is owner for key, owner in before.items() if owner is not engines[-1])


def test_pictures_of_an_engine_that_left_spread_over_all_others() -> None:
    engines = make_engines()
    moved = [key for key in KEYS if pick(key, engines) is engines[-1]]
    shares = Counter(pick(key, engines[:-1]).name for key in moved)
    assert len(shares) == 4
    assert min(shares.values()) > 0.6 * len(moved) / 4


def test_pictures_spread_evenly() -> None:
    for count in (2, 5, 8, 20):
        engines = make_engines(count)
        shares = Counter(pick(key, engines).name for key in KEYS)
        assert len(shares) == count
        assert min(shares.values()) > 0.65 * len(KEYS) / count


def test_load_stays_bounded_when_one_picture_is_all_the_rage() -> None:
    engines = make_engines()
    for _ in range(100):
        pick(KEYS[0], engines).running += 1
    assert sum(engine.running for engine in engines) == 100
    assert max(engine.running for engine in engines) <= 1.25 * 100 / 5 + 1


def test_an_engine_with_a_small_share_gets_little_of_a_full_load_but_something_of_any() -> None:
    engines = make_engines()
    engines[0].share = 0.1
    for key in KEYS[:400]:
        pick(key, engines).running += 1
    assert 1 <= engines[0].running <= 1.25 * 400 * 0.1 / 4.1 + 1
    assert max(engine.running for engine in engines[1:]) <= 1.25 * 400 / 4.1 + 1


def test_one_engine_takes_everything() -> None:
    assert {pick(key, make_engines(1)).name for key in KEYS[:5]} == {"http://10.0.0.0:8000"}


def test_the_home_of_a_picture_is_where_it_goes_while_nobody_is_busy_and_stays_so() -> None:
    engines = make_engines()
    homes = [home(key, engines) for key in KEYS]
    assert homes == [pick(key, engines) for key in KEYS]
    engines[0].running = 1000
    assert homes == [home(key, engines) for key in KEYS]
    assert any(pick(key, engines) is not home(key, engines) for key in KEYS)


def test_without_affinity_who_has_least_for_its_share_is_chosen_and_equals_take_turns() -> None:
    engines = make_engines(3)
    assert Counter(spread(turn, engines).name for turn in range(9)) == Counter({e.name: 3 for e in engines})
    engines[0].running, engines[1].running, engines[2].running = 2, 1, 1
    engines[2].share = 0.25
    assert {spread(turn, engines).name for turn in range(3)} == {engines[1].name}
