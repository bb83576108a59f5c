"""What of a plan is in memory before it is sent."""

import tracemalloc

from loadtest.driving.gallery import Gallery, ReadyPicture
from loadtest.driving.run import fill
from loadtest.records import RequestRecord
from loadtest.scenario.document import Scenario

MEGABYTE = 1024**2


class Told:
    def __init__(self) -> None:
        self.requests: int | None = -1
        self.pictures = 0

    def drawn(self) -> None:
        self.pictures += 1

    def begins(self, requests: int | None) -> None:
        self.requests = requests

    def ended(self, record: RequestRecord, under_way: int) -> None: ...


async def filled(most_bytes: int, **fields: object) -> Told:
    given = {
        "name": "test",
        "arrival": {"kind": "closed", "concurrency": 2},
        "conversations": {"turns": 4},
        **fields,
    }
    told, gallery = Told(), Gallery(lambda picture: ReadyPicture("a", 1, "a" * 1000), most_bytes)
    await fill(gallery, Scenario.model_validate(given), 1, told)
    gallery.close()
    return told


async def test_what_is_planned_is_counted_though_its_pictures_do_not_fit() -> None:
    told = await filled(5000, requests=42)
    assert told.requests == 42
    assert 4 <= told.pictures <= 7
    assert (await filled(MEGABYTE, duration_s=1)).requests is None


async def test_a_long_plan_is_never_in_memory_whole() -> None:
    tracemalloc.start()
    told = await filled(5000, requests=10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told.requests == 10_000
    assert peak < MEGABYTE
