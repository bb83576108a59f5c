"""The OpenAI SDK's Responses against gateway, real vLLM and the FP8 checkpoint."""

import json
import re
import urllib.request
from typing import Any

import openai
import pytest

from demo.run import PICTURES
from quantize.evaluate.own_questions import OwnQuestions
from quantize.evaluate.score import mark
from quantize.evaluate.suite import Item, item
from tests.conftest import Stack
from tests.e2e.test_openai_sdk import COUNT
from tests.pictures import data_url, image_part, picture, text_part

QUESTION = "Count the objects. Answer in JSON."


@pytest.fixture(scope="module")
def scene() -> Item:
    """A picture of scattered things, and the question how many there are."""
    return item("count", "easy", 0)


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def ask(client: openai.OpenAI, model: str, *items: dict[str, Any], **fields: Any) -> Any:
    given: Any = list(items)
    return client.responses.create(
        model=model, input=given, **{"max_output_tokens": 32, "temperature": 0, **fields}
    )


def image_lookups(stack: Stack) -> tuple[float, float]:
    """How often the engine has looked for a processed image, and how often it had it, by its own count."""
    with urllib.request.urlopen(f"{stack.engine}/metrics") as answer:
        lines = answer.read().decode()
    found = [
        re.search(rf"^vllm:mm_cache_{name}_total\S* (\S+)$", lines, re.MULTILINE) for name in ("queries", "hits")
    ]
    return tuple(float(each.group(1)) for each in found if each)  # type: ignore[return-value]


def test_the_bundled_pictures_are_answered_right(client: openai.OpenAI, fp8: Stack) -> None:
    bundled = OwnQuestions(PICTURES / "questions.jsonl", PICTURES)
    for asked in map(bundled.item, bundled.keys):
        said = ask(client, fp8.model, user(image(asked.data_url), text(asked.text))).output_text
        assert mark(said, asked.truth).right, (asked.text, said)


def test_a_stream_says_the_same_as_a_whole_response(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    asked = user(image(scene.data_url), text("What is in this picture?"))
    whole = ask(client, fp8.model, asked)
    events = list(ask(client, fp8.model, asked, stream=True))
    streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert streamed == whole.output_text != ""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.total_tokens == whole.usage.total_tokens


def test_the_sdks_stream_helper_gathers_the_response(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    given: Any = [user(image(scene.data_url), text("What is in this picture?"))]
    with client.responses.stream(model=fp8.model, input=given, max_output_tokens=32, temperature=0) as stream:
        told = stream.get_final_response()
    assert told.output_text == ask(client, fp8.model, *given).output_text


def test_a_json_schema_shapes_the_answer(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    shape = {"format": {"type": "json_schema", "name": "count", "schema": COUNT, "strict": True}}
    answer = ask(client, fp8.model, user(image(scene.data_url), text(QUESTION)), text=shape)
    assert json.loads(answer.output_text) == {"count": int(scene.truth.value)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_tool_is_called_and_its_result_goes_back(
    client: openai.OpenAI, fp8: Stack, scene: Item, stream: bool
) -> None:
    tool = {"type": "function", "name": "report", "description": "Report.", "parameters": COUNT, "strict": True}
    asked = user(image(scene.data_url), text(QUESTION))
    choice = {"type": "function", "name": "report"}
    answer = ask(client, fp8.model, asked, tools=[tool], tool_choice=choice, max_output_tokens=96, stream=stream)
    if stream:
        *_, last = answer
        answer = last.response
    call = answer.output[0]
    assert (call.type, call.name) == ("function_call", "report")
    assert json.loads(call.arguments).keys() == {"count"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": [image(data_url(picture()))]}
    assert ask(client, fp8.model, asked, call.to_dict(), result, user(text("Hi"))).status in (
        "completed",
        "incomplete",
    )


def test_an_answer_can_be_sent_back_as_it_came(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    asked = user(image(scene.data_url), text("What is in this picture?"))
    first = ask(client, fp8.model, asked)
    again = ask(client, fp8.model, asked, *(said.to_dict() for said in first.output), user(text("Hi")))
    assert again.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens


def test_a_picture_is_the_same_to_the_engine_on_every_surface(client: openai.OpenAI, fp8: Stack) -> None:
    """By the engine's own count: a picture it met in a chat is known to it in all other places."""
    data = picture(colour="orange", size=(92, 76))
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    given = {"type": "function_call_output", "call_id": "c", "output": [image(data_url(data))]}
    words = [text_part("What is this?")]

    def chat(image_data: bytes) -> None:
        messages: Any = [{"role": "user", "content": [image_part(image_data), *words]}]
        client.chat.completions.create(model=fp8.model, messages=messages, max_tokens=1)

    looked, had = image_lookups(fp8)
    chat(data)
    assert image_lookups(fp8) == (looked + 1, had)
    ask(client, fp8.model, user(image(data_url(data)), text("What is this?")), max_output_tokens=1)
    assert image_lookups(fp8) == (looked + 2, had + 1)
    ask(client, fp8.model, user(text("Look.")), call, given, max_output_tokens=1)
    assert image_lookups(fp8) == (looked + 3, had + 2)
    chat(picture(colour="orange", size=(92, 77)))
    assert image_lookups(fp8) == (looked + 4, had + 2)


def test_what_is_not_kept_cannot_be_asked_for(client: openai.OpenAI, fp8: Stack) -> None:
    first = ask(client, fp8.model, user(text("Hi")), store=True)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, fp8.model, user(text("And?")), previous_response_id=first.id)
    assert (refused.value.code, refused.value.param) == ("field_not_allowed", "previous_response_id")
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
