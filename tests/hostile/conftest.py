"""One gateway over the fake engine a module; after each case it must be unharmed, after each tenth it is asked."""

from collections.abc import Iterator

import pytest

from tests.hostile.scene import Scene, scene

EVERY = 10


@pytest.fixture(scope="module", name="scene")
def make_scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The module's own `SETTINGS` (sections of the gateway's settings) and `NETWORK` where it has some."""
    network = getattr(request.module, "NETWORK", None)
    with scene(network, **getattr(request.module, "SETTINGS", {})) as made:
        made.check_answers()
        yield made
        made.check_answers()


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "scene" not in request.fixturenames:
        return
    watched: Scene = request.getfixturevalue("scene")
    try:
        watched.check_unharmed()
    finally:
        watched.engine.seen.clear()
        watched.trap.visits.clear()
    counted = request.module.__dict__
    counted["_cases"] = counted.get("_cases", 0) + 1
    if counted["_cases"] % EVERY == 0:
        watched.check_answers()
