"""Sends a whole plan: an open loop at the planned times whatever the server does, a closed one as answers come.

In an open loop a request's latency counts from when it was planned, not from when it could be sent (coordinated
omission): `RequestRecord.due_s`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace

from loadtest.driving.caller import Caller, Clock
from loadtest.driving.gallery import Gallery, ReadyPicture
from loadtest.records import NOT_SENT, RequestRecord
from loadtest.scenario.document import Closed, Scenario
from loadtest.scenario.plan import PlannedConversation, PlannedRequest

# Conversations whose pictures are held ready beyond what the gallery holds.
AHEAD = 32
MOST_CONVERSATIONS = 4096


@dataclass(frozen=True, slots=True)
class ReadyConversation:
    planned: PlannedConversation
    pictures: tuple[tuple[ReadyPicture, ...], ...]  # of each turn


async def hold_ready(
    plan: Iterable[PlannedConversation], gallery: Gallery
) -> AsyncGenerator[ReadyConversation, None]:
    """In the plan's order, at most AHEAD of them before they are wanted. What drawing raises is raised here."""
    queue: asyncio.Queue[ReadyConversation | None] = asyncio.Queue(AHEAD)

    async def prepare() -> None:
        try:
            for planned in plan:
                shown = [tuple([await gallery.get(p) for p in turn.pictures]) for turn in planned.turns]
                await queue.put(ReadyConversation(planned, tuple(shown)))
        finally:
            await queue.put(None)

    task = asyncio.create_task(prepare())
    try:
        while (each := await queue.get()) is not None:
            yield each
        await task
    finally:
        task.cancel()
        # Where nobody reads any longer, its last word would wait for a place.
        while not queue.empty():
            queue.get_nowait()


class Driver:
    """`on_record` gets every request as it ends, and how many are still under way."""

    def __init__(
        self, scenario: Scenario, caller: Caller, clock: Clock, on_record: Callable[[RequestRecord, int], None]
    ) -> None:
        self._scenario = scenario
        self._caller = caller
        self._clock = clock
        self._on_record = on_record
        self._under_way = 0

    async def drive(self, plan: Iterable[PlannedConversation], gallery: Gallery) -> None:
        async with aclosing(hold_ready(plan, gallery)) as conversations:
            if isinstance(self._scenario.arrival, Closed):
                await self._closed(conversations, self._scenario.arrival.concurrency)
            else:
                await self._open(conversations)

    async def _closed(self, conversations: AsyncIterator[ReadyConversation], concurrency: int) -> None:
        turn_to_take = asyncio.Lock()
        until_s = self._scenario.duration_s

        async def call() -> None:
            while until_s is None or self._clock.now_s() < until_s:
                async with turn_to_take:
                    conversation = await anext(conversations, None)
                if conversation is None:
                    return
                await self._converse(conversation)

        async with asyncio.TaskGroup() as callers:
            for _ in range(concurrency):
                callers.create_task(call())

    async def _open(self, conversations: AsyncIterator[ReadyConversation]) -> None:
        places = asyncio.Semaphore(MOST_CONVERSATIONS)

        async def call(conversation: ReadyConversation) -> None:
            try:
                await self._converse(conversation)
            finally:
                places.release()

        async with asyncio.TaskGroup() as callers:
            async for conversation in conversations:
                await asyncio.sleep((conversation.planned.at_s or 0.0) - self._clock.now_s())
                await places.acquire()
                callers.create_task(call(conversation))

    async def _converse(self, conversation: ReadyConversation) -> None:
        """Turn after turn, each with all that was said; after the first that is not answered, none is sent."""
        messages: list[object] = []
        due_s = conversation.planned.at_s
        lost: RequestRecord | None = None
        for request, pictures in zip(conversation.planned.turns, conversation.pictures, strict=True):
            if lost is not None:
                self._on_record(never_sent(conversation, request, lost), self._under_way)
                continue
            if request.turn and self._scenario.conversations.think_s:
                await asyncio.sleep(self._scenario.conversations.think_s)
            messages.append(as_message(request, pictures))
            planned = as_record(conversation, request, due_s)
            self._under_way += 1
            try:
                record, words = await self._caller.ask(
                    planned, conversation.planned.tenant, messages, request.answer_tokens
                )
            finally:
                self._under_way -= 1
            self._on_record(record, self._under_way)
            if record.code:
                lost = record
                continue
            messages.append({"role": "assistant", "content": words})
            due_s = None if due_s is None else record.ended_s + self._scenario.conversations.think_s


def as_message(request: PlannedRequest, pictures: tuple[ReadyPicture, ...]) -> dict[str, object]:
    parts: list[object] = [{"type": "image_url", "image_url": {"url": picture.url}} for picture in pictures]
    return {"role": "user", "content": [*parts, {"type": "text", "text": request.text}]}


def never_sent(conversation: ReadyConversation, request: PlannedRequest, lost: RequestRecord) -> RequestRecord:
    """A turn after `lost`, which was not answered: whoever asks loses the rest of the conversation, too."""
    due_s = None if lost.planned_s is None else lost.ended_s
    planned = as_record(conversation, request, due_s)
    return replace(planned, sent_s=lost.ended_s, ended_s=lost.ended_s, code=NOT_SENT)


def as_record(conversation: ReadyConversation, request: PlannedRequest, due_s: float | None) -> RequestRecord:
    """Not yet sent. Its pictures are all that its body has, those of earlier turns too."""
    planned, tenant = conversation.planned, conversation.planned.tenant
    shown = [picture for turn in conversation.pictures[: request.turn + 1] for picture in turn]
    return RequestRecord(
        number=request.number,
        planned_s=due_s,
        sent_s=0,
        first_byte_s=None,
        token_s=(),
        ended_s=0,
        status=0,
        code="",
        pictures=tuple(picture.name for picture in shown),
        picture_bytes=sum(picture.size for picture in shown),
        tenant=tenant.name,
        priority=tenant.priority or "",
        conversation=planned.number,
        turn=request.turn,
        warm_up=request.warm_up,
    )
