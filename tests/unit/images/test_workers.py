import asyncio
import threading

import pytest

from server.errors import BusyError, ImageError
from server.images.workers import ImageWorkers


async def test_work_gives_its_result_or_its_error() -> None:
    workers = ImageWorkers("t", 1, 5)
    assert await workers.run(lambda: 3) == 3
    with pytest.raises(ImageError, match="broken"):
        await workers.run(fail)
    workers.close()


def fail() -> None:
    raise ImageError("broken")


async def test_work_that_overruns_is_answered_and_keeps_its_place_until_it_ends() -> None:
    workers, ends = ImageWorkers("t", 1, 0.05), threading.Event()
    with pytest.raises(ImageError, match="too long"):
        await workers.run(ends.wait)
    with pytest.raises(BusyError):
        await workers.run(lambda: 1)
    ends.set()
    while True:
        try:
            assert await workers.run(lambda: 1) == 1
            break
        except BusyError:
            await asyncio.sleep(0)
    workers.close()


async def test_a_caller_that_leaves_gives_nobody_its_place_before_the_work_ends() -> None:
    workers, ends = ImageWorkers("t", 1, 5), threading.Event()
    leaving = asyncio.create_task(workers.run(ends.wait))
    await asyncio.sleep(0.01)
    leaving.cancel()
    next_one = asyncio.create_task(workers.run(lambda: 2))
    await asyncio.sleep(0.01)
    assert not next_one.done()
    ends.set()
    assert await next_one == 2
    workers.close()


async def test_an_error_that_nobody_waits_for_is_not_reported_by_the_event_loop() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    workers, ends = ImageWorkers("t", 1, 5), threading.Event()

    def fail_late() -> None:
        ends.wait()
        raise ImageError("broken")

    leaving = asyncio.create_task(workers.run(fail_late))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    ends.set()
    assert await workers.run(lambda: 1) == 1
    workers.close()
    assert not reported
