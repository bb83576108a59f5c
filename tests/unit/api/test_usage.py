import orjson
import pytest

from server.api.usage import MOST_BYTES, read_usage

CHAT = b'{"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}}'
MESSAGE = b'{"type":"message","usage":{"input_tokens":20,"output_tokens":5}}'
COMPLETED = b'{"type":"response.completed","response":{"usage":{"input_tokens":20,"output_tokens":5}}}'


@pytest.mark.parametrize("answer", [CHAT, MESSAGE, b'{"usage":{"input_tokens":20,"output_tokens":5},"output":[]}'])
def test_whole_answers_say_it_in_either_apis_words(answer: bytes) -> None:
    assert read_usage(answer) == (20, 5)


@pytest.mark.parametrize(
    "events",
    [
        b"data: " + CHAT + b"\n\ndata: [DONE]\n\n",
        b'data: {"usage":{"prompt_tokens":20,"completion_tokens":1}}\n\ndata: ' + CHAT + b"\n\n",
        b"data: " + CHAT + b'\n\ndata: {"choices":[],"usage":null}\n\n',
        b"event: message_delta\ndata: " + MESSAGE + b"\n\nevent: message_stop\ndata: {}\n\n",
        b"event: response.completed\ndata: " + COMPLETED + b"\n\n",
        b": keep-alive\n\ndata: " + CHAT + b"\n\n",
    ],
)
def test_of_events_the_last_that_says_it_counts(events: bytes) -> None:
    assert read_usage(events) == (20, 5)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"choices":[{"message":{"content":"{\\"usage\\":{\\"prompt_tokens\\":1}}"}}]}',
        b'{"tools":[{"usage":{"prompt_tokens":1,"completion_tokens":1}}],"usage":null}',
        b'data: {"choices":[{"usage":{"prompt_tokens":1,"completion_tokens":1}}]}\n\n',
        b'{"usage":{"prompt_tokens":"1","completion_tokens":1}}',
        b'{"usage":[1]}',
        b'[{"usage":{"prompt_tokens":1,"completion_tokens":1}}]',
        b'{"usage":{"prompt_tokens":1',
        b"",
    ],
)
def test_nothing_but_the_engines_own_words_count(answer: bytes) -> None:
    assert read_usage(answer) is None


def test_prompts_alone_have_no_answer() -> None:
    assert read_usage(b'{"usage":{"prompt_tokens":7}}') == (7, 0)


def test_of_very_long_answers_the_count_alone_is_read() -> None:
    said = orjson.dumps('"usage":{"prompt_tokens":1}' * 20_000)
    count = b'"usage":{"prompt_tokens":7,"completion_tokens":9}'
    answer = b'{"choices":[{"message":{"content":%s}}],%s,"a":1}' % (said, count)
    assert len(answer) > MOST_BYTES
    assert read_usage(answer) == read_usage(b"data: %s\n\n" % answer) == (7, 9)
    for broken in (b" " * MOST_BYTES, said, answer[: answer.rindex(b"9")], said + b'"usage":[1]'):
        assert read_usage(broken) is None
