"""Passes an engine's bytes on to the caller as they come: whole answers in one piece, streams event by event."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from time import perf_counter

from starlette.types import Send

from server.api.let_go import let_go
from server.api.surface import Surface
from server.api.usage import read_usage
from server.domain import Answer, costliest
from server.drain import Drain
from server.engines.refusal import read_error, refusal
from server.errors import GatewayError
from server.metering.loop_histogram import Series
from server.record import current_record

END_OF_EVENT = b"\n\n"
USAGE = b'"usage"'
# vLLM's word for a failure inside a stream. No model can write it: inside JSON its quotes would be escaped.
ENGINE_ERROR = b'data: {"error":'
EVENTS = "text/event-stream"
Headers = list[tuple[bytes, bytes]]


async def send_answer(
    answer: Answer,
    surface: Surface,
    request_id: str,
    send: Send,
    on_end: Callable[[], None],
    drain: Drain,
    gaps: Callable[[], Series],
    started: bool = False,
) -> GatewayError | None:
    """Send status, headers (unless `started`) and every frame; call `on_end` once the caller has all that it needs.
    What `gaps` says, observes the time between two reads of a stream.

    An engine that fails after the first byte ends the stream with an error event, never silently, and so does a
    gateway that stops: that error is returned for the account, since the status has gone out already.
    """
    current_record().engine = answer.engine
    headers = headers_of(answer)
    if answer.whole is None:
        if not started:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async with aclosing(answer.frames):
            return await send_frames(answer, surface, request_id, send, on_end, drain, gaps())
    headers.append((b"content-length", b"%d" % len(answer.whole)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.whole, "more_body": False})
    note_usage(answer.whole)
    on_end()
    return None


def headers_of(answer: Answer) -> Headers:
    headers = [
        (b"content-type", answer.media_type.encode("latin-1")),
        (b"x-fovea-engine", answer.engine.encode("latin-1")),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    if answer.image_notes:
        headers.append((b"x-fovea-image-notes", answer.image_notes.encode("latin-1")))
    if answer.image_cache:
        headers.append((b"x-fovea-image-cache", costliest(answer.image_cache).encode()))
    headers += answer.limit_headers
    return headers


async def send_frames(
    answer: Answer,
    surface: Surface,
    request_id: str,
    send: Send,
    on_end: Callable[[], None],
    drain: Drain,
    gaps: Series,
) -> GatewayError | None:
    """Every read of the engine's in one write; of streams cut where events end: an event of ours must not land
    inside one."""
    cuts = answer.media_type.startswith(EVENTS)
    failure: GatewayError | None = None
    events, begun, counted = 0, b"", b""
    last = 0.0
    try:
        async for came in answer.frames:
            now = perf_counter()
            if last:
                gaps.observe(now - last)
            last = now
            frame = came
            if cuts and (begun or not came.endswith(END_OF_EVENT)):
                whole, end, begun = (begun + came).rpartition(END_OF_EVENT)
                frame = whole + end
                if not frame:
                    continue
            broken = engine_error(frame, answer.engine) if cuts and ENGINE_ERROR in frame else None
            if broken is not None:
                before, end, _ = frame[: frame.find(ENGINE_ERROR)].rpartition(END_OF_EVENT)
                frame = before + end
            if frame:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            events += frame.count(END_OF_EVENT)
            answer.events = events
            if broken is not None:
                raise broken
            if USAGE in frame:
                counted = frame
            # Callers hang up as soon as they have read this, which is not leaving early.
            if surface.last_event in frame:
                on_end()
        if begun:
            await send({"type": "http.response.body", "body": begun, "more_body": True})
        on_end()
    except (GatewayError, asyncio.CancelledError) as problem:
        if isinstance(problem, GatewayError):
            failure = problem
        elif drain.over and cuts:
            failure = drain.cut_off()
        else:  # the caller has left
            raise
        let_go(problem)
        event = surface.wording.event(failure, request_id, events)
        await send({"type": "http.response.body", "body": event, "more_body": True})
    finally:
        note_usage(counted)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return failure


def engine_error(events: bytes, engine: str) -> GatewayError:
    """What an engine says inside a stream: its status is its code. Told as where it refuses at once."""
    at = events.find(ENGINE_ERROR)
    told = events[at : events.find(END_OF_EVENT, at)].removeprefix(b"data: ")
    code = read_error(told).get("code")
    return refusal(engine, code if isinstance(code, int) else 500, told)


def note_usage(told: bytes) -> None:
    """What the engine has counted, for the log and for the caller's limits."""
    usage = read_usage(told) if told else None
    if usage is not None:
        record = current_record()
        record.prompt_tokens, record.completion_tokens = usage
