import pytest

from server.printable import printable


@pytest.mark.parametrize("text", ["", "plain text", "bücher 図 🙂", "a" * 20])
def test_what_shows_as_it_is_stays(text: str) -> None:
    assert printable(text, 20) == text


@pytest.mark.parametrize(
    "bad", ["\n", "\r", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\ud800"]
)
def test_what_ends_a_line_or_turns_writing_is_replaced(bad: str) -> None:
    assert printable(f"a{bad}b", 20) == "a\ufffdb"


def test_long_text_is_cut_and_shows_it() -> None:
    assert printable("a" * 21, 20) == "a" * 17 + "..."
