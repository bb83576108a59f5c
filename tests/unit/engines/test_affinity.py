from collections import Counter

from server.engines.affinity import pick, rank

NAMES = [f"engine-{i}" for i in range(5)]
KEYS = [f"picture-{i}" for i in range(2000)]


def test_the_order_of_engines_does_not_matter() -> None:
    assert all(rank(key, NAMES) == rank(key, NAMES[::-1]) for key in KEYS[:50])


def test_an_engine_that_leaves_moves_only_its_own_pictures() -> None:
    before = {key: rank(key, NAMES)[0] for key in KEYS}
    after = {key: rank(key, NAMES[:-1])[0] for key in KEYS}
    assert all(after[key] == owner for key, owner in before.items() if owner != NAMES[-1])


def test_pictures_spread_evenly() -> None:
    shares = Counter(rank(key, NAMES)[0] for key in KEYS)
    assert min(shares.values()) > 0.8 * len(KEYS) / len(NAMES)


def test_load_stays_bounded_when_one_picture_is_all_the_rage() -> None:
    running = dict.fromkeys(NAMES, 0)
    for _ in range(100):
        running[pick("viral", running)] += 1
    assert max(running.values()) <= 1.25 * 101 / 5 + 1


def test_an_idle_pool_always_gives_the_preferred_engine() -> None:
    assert all(pick(key, dict.fromkeys(NAMES, 0)) == rank(key, NAMES)[0] for key in KEYS[:200])
