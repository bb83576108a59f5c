import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loadtest.driving.gallery import Gallery, ReadyPicture, gallery_of_files, ready
from loadtest.scenario.plan import Picture
from tests.pictures import picture as png


def planned(number: int) -> Picture:
    return Picture(number, 16, 16, "png", 80, 1)


class Drawing:
    """Draws 100 bytes of data URL, and counts."""

    def __init__(self) -> None:
        self.drawn: Counter[int] = Counter()

    def __call__(self, picture: Picture) -> ReadyPicture:
        self.drawn[picture.number] += 1
        return ReadyPicture(str(picture.number), 75, "x" * 100)


async def test_a_picture_is_drawn_once_while_it_is_held() -> None:
    draw = Drawing()
    gallery = Gallery(draw)
    for number in (1, 2, 1, 2, 1):
        assert (await gallery.get(planned(number))).name == str(number)
    assert draw.drawn == {1: 1, 2: 1}
    gallery.close()


async def test_the_longest_unused_is_let_go_and_drawn_anew() -> None:
    draw = Drawing()
    gallery = Gallery(draw, most_bytes=250)
    for number in (1, 2, 1, 3, 1, 2):
        await gallery.get(planned(number))
    assert draw.drawn == {1: 1, 2: 2, 3: 1}
    gallery.close()


async def test_filling_draws_each_once_and_stops_where_no_more_fit() -> None:
    draw, told = Drawing(), 0

    def tell() -> None:
        nonlocal told
        told += 1

    gallery = Gallery(draw, most_bytes=1000)
    await gallery.fill([planned(number % 50) for number in range(200)], tell)
    assert 9 <= told == sum(draw.drawn.values()) <= 11
    assert set(draw.drawn.values()) == {1}
    gallery.close()


async def test_asked_for_by_many_at_once_it_is_held_once() -> None:
    gallery = Gallery(Drawing(), most_bytes=150)
    await asyncio.gather(*(gallery.get(planned(1)) for _ in range(8)))
    await gallery.get(planned(1))
    assert gallery.held_bytes == 100
    gallery.close()


async def test_files_are_shown_in_turn_by_number(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, colour in zip(files, ("red", "blue"), strict=True):
        path.write_bytes(png(colour=colour))
    gallery = gallery_of_files(files)
    shown = [await gallery.get(planned(number)) for number in range(4)]
    assert shown[0] == shown[2] == ready(png(colour="red"), "png")
    assert shown[1] == shown[3] != shown[0]
    gallery.close()


async def test_filling_reads_no_further_than_what_fits() -> None:
    read = 0

    def endless() -> Iterator[Picture]:
        nonlocal read
        for read in itertools.count(1):
            yield planned(read)

    gallery = Gallery(Drawing(), most_bytes=1000)
    await gallery.fill(endless(), lambda: None)
    assert 9 <= read <= 12
    gallery.close()
