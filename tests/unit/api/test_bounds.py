import pytest

from server.api.parsing.schemas import MOST_STATES, states


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("", 0), ("abc", 3), ("a*b+c?", 3), ("^a|b$", 2), ("[a-z]{3}", 3), ("\\{{3}", 3), ("(ab){3}", 6),
        ("((a|b){2}){3}", 12), ("a{2,}", 2), ("a{,5}", 5), ("a+{7}", 7), ("a{2}{3}", 6), ("\\p{L}+", 1),
        ("(?:ab){2}", 6), ("[", 1), ("a{", 1), ("\\", 1), ("()", 0), ("))", 0), ("((", 0),
    ],
)  # fmt: skip
def test_repetitions_are_counted_as_if_written_out(pattern: str, count: int) -> None:
    assert states(pattern) == count


@pytest.mark.parametrize("pattern", ["a{99999999999}", "(a{99}){99}", "((a|b){1,1000}){1,1000}", "a{4001}"])
def test_what_repeats_too_much_is_over_the_bound(pattern: str) -> None:
    assert states(pattern) > MOST_STATES
