"""Pictures ready to be sent: drawn in threads before they are due, so that drawing is in nobody's latency."""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from loadtest.scenario.document import Pictures
from loadtest.scenario.drawn import draw_picture
from loadtest.scenario.plan import Picture

MEDIA_TYPES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
MOST_BYTES = 512 * 1024**2
DRAWING_THREADS = 2


@dataclass(frozen=True, slots=True)
class ReadyPicture:
    """`name` is of its bytes, `size` their number."""

    name: str
    size: int
    url: str


def ready(data: bytes, kind: str) -> ReadyPicture:
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return ReadyPicture(blake3(data).hexdigest()[:16], len(data), url)


class Gallery:
    """Never holds more than `most_bytes` of data URLs: the longest unused are drawn anew."""

    def __init__(self, draw: Callable[[Picture], ReadyPicture], most_bytes: int = MOST_BYTES) -> None:
        self._draw = draw
        self._most_bytes = most_bytes
        self._held: OrderedDict[Picture, ReadyPicture] = OrderedDict()
        self.held_bytes = 0
        self._threads = ThreadPoolExecutor(DRAWING_THREADS, thread_name_prefix="draw")

    async def get(self, picture: Picture) -> ReadyPicture:
        if held := self._held.get(picture):
            self._held.move_to_end(picture)
            return held
        drawn = await asyncio.get_running_loop().run_in_executor(self._threads, self._draw, picture)
        self._keep(picture, drawn)
        return drawn

    async def fill(self, pictures: Iterable[Picture], on_drawn: Callable[[], None]) -> None:
        """Draw before the run what fits; no more of `pictures` is read than that."""
        wanted = unlike(pictures)

        async def draw_on() -> None:
            for picture in wanted:
                if self.held_bytes >= self._most_bytes * 0.9:
                    return
                await self.get(picture)
                on_drawn()

        await asyncio.gather(*(draw_on() for _ in range(DRAWING_THREADS)))

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _keep(self, picture: Picture, drawn: ReadyPicture) -> None:
        if picture in self._held:
            return
        self._held[picture] = drawn
        self.held_bytes += len(drawn.url)
        while self.held_bytes > self._most_bytes and self._held:
            _, gone = self._held.popitem(last=False)
            self.held_bytes -= len(gone.url)


def unlike(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Each once."""
    seen: set[Picture] = set()
    for picture in pictures:
        if picture not in seen:
            seen.add(picture)
            yield picture


def drawn_gallery(pictures: Pictures, most_bytes: int = MOST_BYTES) -> Gallery:
    return Gallery(lambda picture: ready(draw_picture(picture, pictures), picture.format), most_bytes)


def gallery_of_files(files: Sequence[Path], most_bytes: int = MOST_BYTES) -> Gallery:
    """The scenario decides which number is shown, the files what it looks like: in turn, over and over."""

    def read(picture: Picture) -> ReadyPicture:
        path = files[picture.number % len(files)]
        return ready(path.read_bytes(), MEDIA_TYPES.get(path.suffix.lower(), "png"))

    return Gallery(read, most_bytes)
