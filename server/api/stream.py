"""Passes an engine's bytes on to the caller as they come, and notices when the caller leaves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from starlette.types import Receive, Send

from server.api.let_go import let_go
from server.api.surface import Surface
from server.api.wire import ClientLeft
from server.domain import Answer
from server.drain import Drain
from server.errors import EngineError, GatewayError
from server.record import current_record

END_OF_EVENT = b"\n\n"
EVENTS = "text/event-stream"


async def until_client_leaves(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run `work`; cancel it, wait for its clean-up and raise ClientLeft if the caller goes away first."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeft
        working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def send_answer(
    answer: Answer, surface: Surface, request_id: str, send: Send, on_end: Callable[[], None], drain: Drain
) -> GatewayError | None:
    """Send status, headers and every frame; call `on_end` once the caller has all that it needs.

    An engine that fails after the first byte ends the stream with an error event, never silently, and so does a
    gateway that stops: that error is returned for the account, since the status has gone out already.
    """
    current_record().engine = answer.engine
    headers = [
        (b"content-type", answer.media_type.encode("latin-1")),
        (b"x-fovea-engine", answer.engine.encode("latin-1")),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    if answer.image_notes:
        headers.append((b"x-fovea-image-notes", answer.image_notes.encode("latin-1")))
    headers += answer.limit_headers
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    failure: GatewayError | None = None
    events = 0
    try:
        async with aclosing(whole_events(answer)) as frames:
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                events += frame.count(END_OF_EVENT)
                # Callers hang up as soon as they have read this, which is not leaving early.
                if surface.last_event in frame:
                    on_end()
        on_end()
    except (EngineError, asyncio.CancelledError) as problem:
        if isinstance(problem, EngineError):
            failure = problem
        elif drain.over and answer.media_type.startswith(EVENTS):
            failure = drain.cut_off()
        else:  # the caller has left
            raise
        let_go(problem)
        event = surface.wording.event(failure, request_id, events)
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return failure


async def whole_events(answer: Answer) -> AsyncGenerator[bytes, None]:
    """The answer's frames, those of a stream cut where events end: an event of ours must not land inside one."""
    if not answer.media_type.startswith(EVENTS):
        async for frame in answer.frames:
            yield frame
        return
    begun = b""
    async for frame in answer.frames:
        events, end, begun = (begun + frame).rpartition(END_OF_EVENT)
        if end:
            yield events + end
    if begun:
        yield begun


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
