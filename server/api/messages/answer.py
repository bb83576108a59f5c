"""/v1/messages: a chat's answer told as Anthropic's, whole or as a stream, as vLLM's own translation tells it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from server.api.messages.events import MessageEvents
from server.api.messages.frames import EventReader
from server.api.messages.whole import translate_whole
from server.domain import Answer
from server.errors import EngineError


async def tell_message(answer: Answer) -> Answer:
    """The same answer in Anthropic's words. Raises EngineError where the engine's first words are no chat's."""
    if not answer.media_type.startswith("text/event-stream"):
        whole = answer.whole
        if whole is None:
            whole = b"".join([frame async for frame in answer.frames])
        told = translate_whole(whole, answer.engine)
        return replace(answer, frames=once(told), whole=told)
    events = translate_stream(answer)
    # A failure before the first event is still an answer with a status of its own.
    first = await anext(events)
    return replace(answer, frames=chain(first, events), whole=None)


async def translate_stream(answer: Answer) -> AsyncGenerator[bytes, None]:
    """The events of each read, in one piece. Raises EngineError, after what was told before it."""
    reader, message = EventReader(answer.engine), MessageEvents(answer.engine)
    async for frame in answer.frames:
        told: list[bytes] = []
        try:
            for data in reader.feed(frame):
                told += message.feed(data)
        except EngineError:
            if told:
                yield b"".join(told)
            raise
        if told:
            yield b"".join(told)
    if not message.ended:
        raise EngineError(f"{answer.engine} ended inside its answer.")


async def once(whole: bytes) -> AsyncGenerator[bytes, None]:
    yield whole


async def chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async with aclosing(rest):
        async for frame in rest:
            yield frame
