"""What a gateway holds of the bodies that it works on: the real process, its memory read from the kernel."""

from functools import partial
from pathlib import Path

import pytest

from loadtest.gateway.bodies import make_body
from loadtest.gateway.measure import measure_memory
from loadtest.gateway.processes import gateway, stub
from tests.pictures import noise

PICTURE = noise("JPEG", (3000, 2000), quality=95)


@pytest.mark.parametrize("uploads", [1, 6])
def test_bodies_that_are_held_at_once_take_less_than_three_times_their_bytes(uploads: int) -> None:
    held = make_body(PICTURE, held=True)
    assert len(held) > 3_000_000
    with stub() as upstream:
        start = partial(gateway, Path.cwd(), upstream, {})
        memory = measure_memory("gateway", start, make_body(noise("JPEG")), held, uploads)
    assert memory.bodies > 0.5  # something was held: the watch saw it
    assert memory.bodies < 3
