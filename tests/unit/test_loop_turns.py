import asyncio

from server.loop_turns import LoopTurns


async def rounds_of(turns: LoopTurns, tasks: int, steps: int) -> list[int]:
    """How many steps happened each time that the loop came round."""
    happened = [0]

    async def work() -> None:
        for _ in range(steps):
            await turns.take()
            happened[-1] += 1
            await asyncio.sleep(0)

    async def count() -> None:
        while True:
            await asyncio.sleep(0)
            happened.append(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(work() for _ in range(tasks)))
    counting.cancel()
    return happened


async def test_no_round_holds_more_than_its_share_and_none_is_left_out() -> None:
    happened = await rounds_of(LoopTurns(4), tasks=30, steps=10)
    assert sum(happened) == 300
    assert max(happened) <= 2 * 4  # those of a round that ends and of one that begins
    assert len([each for each in happened if each]) >= 300 / 8


async def test_who_is_alone_never_waits() -> None:
    turns = LoopTurns(4)
    for _ in range(3):
        before = len(asyncio.all_tasks())
        await asyncio.wait_for(turns.take(), 1)
        assert len(asyncio.all_tasks()) == before
    happened = await rounds_of(LoopTurns(4), tasks=1, steps=20)
    assert sum(happened) == 20
    assert len(happened) <= 23


async def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns, came = LoopTurns(1), list[int]()

    async def work(number: int) -> None:
        await turns.take()
        came.append(number)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert came == list(range(20))


async def test_those_who_leave_take_no_turn_from_others() -> None:
    turns = LoopTurns(1)
    await turns.take()
    leaving = [asyncio.create_task(turns.take()) for _ in range(50)]
    staying = asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait_for(staying, 1)
    await asyncio.wait(leaving)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert turns._waiting == type(turns._waiting)()
    assert turns._taken == 0
