"""A plugin of pytest: `--lane engines` runs the tests that need the engines all share, `--lane gateways` those that
ask a gateway in front of fakes (they wait more than they compute), `--lane rest` the others, `--lane alone` those
that bear nothing beside them.

Files with engines of their own may be in either, so that all take as long.
"""

import pytest

SIDE_BY_SIDE = ("engines", "gateways", "rest")
# Two ranks of vLLM wait for one another by spinning: with less than a core for each they hardly move.
ALONE = ("tests/e2e/embedding_cache/test_embedding_cache.py::test_of_two_ranks_both_load_and_one_writes",)
# Fixtures of tests/conftest.py, and what parametrized tests call the real engine.
SHARED_ENGINES = {"stacks", "fp8", "bf16"}
REAL = "vllm"
OWN_ENGINES = (
    "tests/e2e/embedding_cache/",
    "tests/e2e/test_calibrated.py",
    "tests/e2e/test_shared_embeddings.py",
)
GATEWAYS = ("tests/contract/", "tests/hostile/")
# What they need may still be compiling in the background.
LAST = "tests/chart/plane/"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lane", choices=(*SIDE_BY_SIDE, "alone"), help="Only the tests of this lane; all without it."
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = config.getoption("lane")
    others = [item for item in items if wanted not in (None, lane_of(item))]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if wanted == lane_of(item)]
    items.sort(key=lambda item: item.nodeid.startswith(LAST))


def lane_of(item: pytest.Item) -> str:
    if item.nodeid in ALONE:
        return "alone"
    if item.nodeid.startswith(OWN_ENGINES):
        return "engines"
    named: set[str] = set(getattr(item, "fixturenames", ()))
    parameters = getattr(item, "callspec", None)
    real = parameters is not None and REAL in parameters.params.values()
    if real or named & SHARED_ENGINES:
        return "engines"
    return "gateways" if item.nodeid.startswith(GATEWAYS) else "rest"
