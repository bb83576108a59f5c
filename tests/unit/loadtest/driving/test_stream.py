import json

import pytest

from loadtest.driving.stream import MOST_WORDS, Heard, ProtocolError, code_of, word_of
from loadtest.records import MOST_TOKEN_TIMES


def event(**fields: object) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()


def words(said: str) -> bytes:
    return event(choices=[{"delta": {"content": said}}])


WHOLE = (
    event(choices=[{"delta": {"role": "assistant", "content": ""}}])
    + b": keepalive\n\n"
    + words("one")
    + words(" two")
    + event(choices=[{"delta": {}, "finish_reason": "stop"}], usage=None)
    + event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 2})
    + b"data: [DONE]\n\n"
)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_answer_is_heard_the_same_however_it_is_cut(size: int) -> None:
    heard = Heard()
    for place in range(0, len(WHOLE), size):
        heard.feed(WHOLE[place : place + size], at_s=float(place))
    assert ("".join(heard.words), heard.done, heard.code) == ("one two", True, "")
    assert (heard.prompt_tokens, heard.output_tokens, len(heard.token_s)) == (9, 2, 2)
    assert heard.token_s == sorted(heard.token_s)


def test_only_chunks_with_words_are_tokens() -> None:
    heard = Heard()
    heard.feed(event(choices=[{"delta": {"content": ""}}]) + b": ping\n\n", 1.0)
    heard.feed(words("yes"), 2.0)
    assert heard.token_s == [2.0]


def test_an_error_in_the_stream_is_heard_by_its_code() -> None:
    heard = Heard()
    heard.feed(words("a") + event(error={"code": "engine_died", "message": "no"}), 1.0)
    assert (heard.code, heard.done) == ("engine_died", False)


@pytest.mark.parametrize("text", [b"data: {oops\n", b"data: [1]\n", b"x" * (5 * 1024**2)])
def test_what_is_no_stream_is_told(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        Heard().feed(text, 0.0)


@pytest.mark.parametrize("choice", [7, {"delta": None}, {"delta": 3}, {}])
def test_odd_choices_are_passed_over(choice: object) -> None:
    heard = Heard()
    heard.feed(event(choices=[choice]), 0.0)
    assert heard.token_s == []


def test_the_times_of_an_endless_answer_are_bounded() -> None:
    heard = Heard()
    for _ in range(MOST_TOKEN_TIMES + 50):
        heard.feed(words("a"), 0.0)
    assert len(heard.token_s) == len(heard.words) == MOST_TOKEN_TIMES


@pytest.mark.parametrize(
    ("body", "code"),
    [({"error": {"code": "x"}}, "x"), ({"error": {"code": 400}}, "400"), ({"error": "x"}, "?"), ([], "?")],
)
def test_the_servers_code_is_told_where_it_says_one(body: object, code: str) -> None:
    assert code_of(body, "?") == code


@pytest.mark.parametrize("told", [-1, "7", 2.5, None, [3], 10**30])
def test_a_count_of_tokens_that_is_none_is_zero(told: object) -> None:
    heard = Heard()
    heard.feed(event(usage={"prompt_tokens": told, "completion_tokens": told}), 0.0)
    assert (heard.prompt_tokens, heard.output_tokens) == (0, 0)


def test_an_error_of_null_is_none() -> None:
    heard = Heard()
    heard.feed(event(error=None, choices=[{"delta": {"content": "a"}}]), 0.0)
    assert (heard.code, heard.words) == ("", ["a"])


def test_the_words_of_an_endless_answer_are_bounded() -> None:
    heard = Heard()
    for _ in range(3):
        heard.feed(words("a" * (MOST_WORDS // 2 + 1)), 0.0)
    assert sum(map(len, heard.words)) == MOST_WORDS
    assert len(heard.token_s) == 3


def test_a_word_of_a_server_is_short_and_holds_nothing_that_a_terminal_obeys() -> None:
    assert word_of("overloaded") == "overloaded"
    assert word_of("\x1b[31m\udcff" + "x" * 100) == "?[31m?" + "x" * 58
