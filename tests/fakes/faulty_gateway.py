"""`fovea`, with bugs that a request's `seed` provokes: each fails in another place, with the request in hand."""

import asyncio
import logging
import os
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from server.admission.price import PriceList
from server.cli import main
from server.domain import Cost, LoadedImage, ParsedRequest
from server.engines.lending import Frames

BUGS: dict[int, Callable[[str], object]] = {}
MID_STREAM = 9100


def bug(seed: int) -> Callable[[Callable[[str], object]], Callable[[str], object]]:
    def register(work: Callable[[str], object]) -> Callable[[str], object]:
        BUGS[seed] = work
        return work

    return register


@bug(9001)
def fail(text: str) -> NoReturn:
    raise ValueError(text)


@bug(9002)
def forget_task(text: str) -> None:
    async def failing() -> None:
        fail(text)

    asyncio.get_running_loop().create_task(failing(), name=text)


@bug(9003)
def fail_in_callback(text: str) -> None:
    asyncio.get_running_loop().call_soon(fail, text)


@bug(9004)
def fail_in_thread(text: str) -> None:
    threading.Thread(target=fail, args=(text,), name=text).start()


@bug(9005)
def fail_in_finalizer(text: str) -> None:
    type("Broken", (), {"__del__": lambda _: fail(text)})()


@bug(9006)
def warn(text: str) -> None:
    warnings.warn(text, stacklevel=1)


@bug(9007)
def log_as_a_library(text: str) -> None:
    for name in ("aiohttp.client", "asyncio", "PIL.TiffImagePlugin", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).error("value: %s", text)
    logging.getLogger("concurrent.futures").critical(f"value: {text}")


@bug(9008)
def fail_as_a_group(text: str) -> NoReturn:
    try:
        fail(text)
    except ValueError as problem:
        raise ExceptionGroup(text, [problem, KeyError(text)]) from OSError(text)


@bug(9009)
def forget_coroutine(text: str) -> None:
    async def never(_: str) -> None: ...

    never(text)  # type: ignore[unused-coroutine]


CRASH = 9999
BUGS[CRASH] = lambda _: os.abort()


def price_with_bugs(self: PriceList, request: ParsedRequest, images: list[LoadedImage]) -> Cost:
    work = BUGS.get(request.body.get("seed", 0))
    if work is not None:
        work(str(request.body) + str([bytes(image.encoded) for image in images]))
    return true_price(self, request, images)


async def frame_with_bugs(self: Frames) -> bytes:
    """Fails behind the first frame, be there another one or, where all of them came at once, the end."""
    try:
        frame = await true_frame(self)
    except StopAsyncIteration:
        if self in begun:
            raise ValueError(begun[self].decode()) from None
        raise
    if mid_stream.is_set() and frame.strip():
        if self in begun:
            raise ValueError(frame.decode())
        begun[self] = frame
    return frame


true_price, true_frame = PriceList.price, Frames.__anext__
begun: dict[Frames, bytes] = {}
mid_stream = threading.Event()


@bug(MID_STREAM)
def fail_mid_stream(_: str) -> None:
    mid_stream.set()


PriceList.price = price_with_bugs  # type: ignore[method-assign]
Frames.__anext__ = frame_with_bugs  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
