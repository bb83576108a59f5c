"""The benchmark of growth: its arithmetic, whose turn it is, what its page calls flat, and what it asks with."""

import io
import itertools
import json
import sys
from collections.abc import Callable

import pytest
from PIL import Image

from loadtest.bench_scaling import CACHE, SCENES
from loadtest.scaling.about import ABOUT
from loadtest.scaling.bodies import SIDE, data_url, make_chat, make_picture
from loadtest.scaling.entries import Folder, Memory, Pages
from loadtest.scaling.page import make_page
from loadtest.scaling.result import BOUND, Growth, Result
from loadtest.scaling.turns import Subject, take_turns
from server.images.digest import identify


def growth(name: str, *ratios: float) -> Growth:
    return Growth(name, [1, 10, 100], [[10.0, 11.0, 10 * ratio] for ratio in ratios], [90.0, 91.0, 99.0])


def result(*growths: Growth) -> Result:
    return Result("2026-11-23", "here", {"fovea": "0.1.0"}, "command", 3, list(growths), 0.5, 60.0)


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    # The second round met a machine that was three times as slow.
    grown = Growth("engines", [1, 100], [[10, 12], [30, 36], [10, 30]], [])
    assert grown.ratio() == pytest.approx(1.2)
    assert grown.ratios(-1) == pytest.approx([1.2, 1.2, 3.0])
    assert grown.is_flat
    assert grown.kb_each is None


def test_memory_is_what_one_more_takes() -> None:
    assert growth("engines", 1.0).kb_each == pytest.approx(9 * 1024 / 99)


def test_the_sizes_take_turns_and_each_begins_in_its_turn() -> None:
    asked: list[int] = []

    def measured(size: int) -> Subject:
        return Subject(size, lambda: asked.append(size) or float(size), lambda: 1.0)

    found = take_turns("engines", [measured(1), measured(10), measured(100)], rounds=2)
    assert asked == [1, 10, 100, 10, 100, 1, 100, 1, 10]
    assert found == Growth("engines", [1, 10, 100], [[1, 10, 100], [1, 10, 100]], [1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("name", "ratio", "word", "is_met"),
    [
        ("engines", BOUND, "flat", "met"),
        ("memory look-up", BOUND + 0.1, "named", "met"),
        ("memory look-up", BOUND, "flat", "met"),
        ("engines", BOUND + 0.1, "**grows**", "missed"),
    ],
)
def test_the_page_calls_nothing_flat_that_is_not(name: str, ratio: float, word: str, is_met: str) -> None:
    lines = make_page(result(growth(name, ratio), growth("tenants", 1.0))).splitlines()
    row = next(line for line in lines if line.startswith(f"| 1, 10, 100 {ABOUT[name].thing} |"))
    assert row.endswith(f"| {ratio:.2f} ({ratio:.2f} to {ratio:.2f}) | {word} |")
    assert next(line for line in lines if "every cost is flat" in line).endswith(f"| {is_met} |")
    assert ("## What grows, and why" in lines) == (word == "named")


def test_all_that_is_measured_is_told_of() -> None:
    assert {*SCENES} <= {*ABOUT}
    assert CACHE not in SCENES
    assert all(sizes[-1] == 100 * sizes[0] for sizes, _ in SCENES.values())


def test_pictures_differ_and_are_pictures() -> None:
    assert len({identify(make_picture(number), None) for number in range(300)}) == 300
    with Image.open(io.BytesIO(make_picture(7))) as picture:
        picture.load()
        assert picture.size == (SIDE, SIDE)


@pytest.mark.parametrize("messages", [1, 2, 10])
def test_a_chat_has_as_many_messages_and_pictures_as_it_is_told(messages: int) -> None:
    chat = json.loads(make_chat([data_url(1), data_url(2)], messages))
    roles = [each["role"] for each in chat["messages"]]
    assert len(roles) == messages
    assert roles[-1] == "user"
    assert all(first != second for first, second in itertools.pairwise(roles))
    assert [part["type"] for part in chat["messages"][-1]["content"]] == ["text", "image_url", "image_url"]


def test_embeddings_are_found_where_they_were_stored_and_room_is_made(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    memory = Memory(20)
    folder = Folder(tmp_path_factory.mktemp("folder"), 40)
    try:
        for kept in (memory, folder):
            kept.store(30)
            kept.look_up(kept.some(50))
        memory.tidy()
        assert len(memory._memory) == 20
        assert 0 < folder.scan() <= 40
    finally:
        memory.close()
        folder.close()


def calls_of(work: Callable[[], None]) -> int:
    made = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return made


def test_a_look_up_in_host_memory_is_the_same_calls_however_much_is_held() -> None:
    few, many = Memory(20), Memory(400)
    try:
        keys = few.some(50), many.some(50)
        few.look_up(keys[0])
        many.look_up(keys[1])
        assert calls_of(lambda: few.look_up(keys[0])) == calls_of(lambda: many.look_up(keys[1])) > 50
    finally:
        few.close()
        many.close()


def test_pages_are_taken_and_come_back() -> None:
    pages = Pages(50)
    pages.churn(500)
    assert sum(count for _, count in pages._kept) <= 50 * 17
