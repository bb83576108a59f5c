from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from server.api.messages.count_tokens import parse_count_request, tell_count
from server.domain import Answer
from server.errors import CallerError, EngineError
from tests.unit.api.messages.test_request import TOOL, image, user


def asked(**fields: Any) -> dict[str, Any]:
    body = {"model": "demo", "messages": [user(image())], **fields}
    request = parse_count_request(orjson.dumps(body))
    assert (request.route, request.images[0].path) == ("tokenize", "messages[0].content[0].source")
    return request.body


def answer(whole: bytes) -> Answer:
    async def give() -> AsyncGenerator[bytes, None]:
        yield whole

    return Answer(200, "application/json", "engine-0", give())


def test_what_shapes_the_prompt_is_passed_on_and_nothing_else() -> None:
    assert asked().keys() == {"model", "messages"}
    whole = asked(system="Be short.", tools=[TOOL], tool_choice={"type": "any"}, thinking={"type": "disabled"})
    assert whole.keys() == {"model", "messages", "tools", "chat_template_kwargs"}
    assert whole["messages"][0]["role"] == "system"
    assert whole["chat_template_kwargs"] == {"reasoning_effort": "none", "enable_thinking": False}


@pytest.mark.parametrize("field", ["max_tokens", "stream", "temperature", "cache_salt"])
def test_what_shapes_only_the_answer_is_refused(field: str) -> None:
    with pytest.raises(CallerError) as caught:
        asked(**{field: 1})
    assert caught.value.param == field


async def test_the_engines_count_is_the_input() -> None:
    told = await tell_count(answer(b'{"count": 7, "tokens": [1]}'))
    assert b"".join([frame async for frame in told.frames]) == b'{"input_tokens":7}' == told.whole


async def test_an_answer_that_came_in_one_piece_is_told_in_one() -> None:
    given = answer(b'{"count": 7}')
    given.whole = b'{"count": 8}'
    assert (await tell_count(given)).whole == b'{"input_tokens":8}'


@pytest.mark.parametrize("whole", [b"", b"{}", b'{"count": "7"}', b"7"])
async def test_no_count_is_an_engine_that_failed(whole: bytes) -> None:
    with pytest.raises(EngineError):
        await tell_count(answer(whole))
