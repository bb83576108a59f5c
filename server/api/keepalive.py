"""Keeps a stream open before its first event: proxies and SDKs give up on connections on which nothing comes."""

import asyncio

from starlette.types import Send

# What is known of an answer that has not come yet.
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Keepalive:
    """Sends status and headers after `interval_s` of silence, and `beat`, which means nothing, then and again after
    each more, until it is stopped. `started`: the status has gone out, and can no longer be another.

    What it sends is sent from a task of its own, which whoever stops it waits for: nothing is sent into it.
    """

    def __init__(self, send: Send, interval_s: float, beat: bytes) -> None:
        self._send = send
        self._interval_s = interval_s
        self._beat = beat
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.started = False

    def __enter__(self) -> "Keepalive":
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()
        if self._sending is not None:
            self._sending.cancel()

    async def stop(self) -> bool:
        """Nothing of it comes from here on. Whether it has started."""
        self._stop_waiting()
        if self._sending is not None:
            await asyncio.wait({self._sending})
            self._stop_waiting()  # that is how sending ends
        return self.started

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._begin_sending)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _begin_sending(self) -> None:
        self._sending = asyncio.create_task(self._send_beat(), name="keepalive")

    async def _send_beat(self) -> None:
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await self._send({"type": "http.response.body", "body": self._beat, "more_body": True})
        self._wait()
