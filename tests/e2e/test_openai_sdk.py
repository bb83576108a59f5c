"""The OpenAI SDK against gateway, real vLLM and the FP8 checkpoint."""

import asyncio
import json
import re
import time
import urllib.request
from typing import Any

import openai
import pytest

from demo.ask import ask_all, parts
from demo.run import PICTURES
from quantize.evaluate.own_questions import OwnQuestions
from quantize.evaluate.questions import SKILLS
from quantize.evaluate.score import mark
from quantize.evaluate.suite import Item, SightSuite, item
from tests.conftest import Stack
from tests.pictures import data_url, image_part, picture, text_part

AGREEMENT_QUESTIONS = 25  # of each skill
COUNT = {
    "type": "object",
    "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["count"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def scene() -> Item:
    """A picture of scattered things, and the question how many there are."""
    return item("count", "easy", 0)


def ask(client: openai.OpenAI, model: str, content: list[dict[str, Any]], **fields: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": content}]
    fields = {"max_tokens": 32, "temperature": 0, **fields}
    return client.chat.completions.create(model=model, messages=messages, **fields)


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def metrics_of(stack: Stack) -> str:
    with urllib.request.urlopen(f"{stack.url}/metrics") as response:
        return str(response.read().decode())


def test_the_bundled_pictures_are_answered_right(client: openai.OpenAI, fp8: Stack) -> None:
    bundled = OwnQuestions(PICTURES / "questions.jsonl", PICTURES)
    for asked in map(bundled.item, bundled.keys):
        said = text_of(ask(client, fp8.model, parts(asked.data_url, asked.text)))
        assert mark(said, asked.truth).right, (asked.text, said)


def test_streaming_says_the_same_as_not_streaming(client: openai.OpenAI, fp8: Stack) -> None:
    for index in range(5):
        content = parts(item("count", "easy", index).data_url, "What is in this picture?")
        whole = ask(client, fp8.model, content)
        chunks = list(ask(client, fp8.model, content, stream=True, stream_options={"include_usage": True}))
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert streamed == text_of(whole) != ""
        assert chunks[-1].usage == whole.usage


def test_the_quantized_model_answers_as_the_original(
    fp8: Stack, bf16: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = SightSuite(SKILLS, ("easy",), AGREEMENT_QUESTIONS)
    asked = [suite.item(key) for key in suite.keys]
    original = asyncio.run(ask_all(f"{bf16.url}/v1", bf16.model, asked))
    quantized = asyncio.run(ask_all(f"{fp8.url}/v1", fp8.model, asked))
    agreed = sum(a == b for a, b in zip(original, quantized, strict=True))
    with capsys.disabled():
        print(f"\nFP8 agrees with BF16 word for word on {agreed} of {len(asked)} answers")
    assert agreed >= 0.9 * len(asked)


def test_usage_counts_the_pictures_tokens_as_the_gateway_priced_them(
    client: openai.OpenAI, fp8: Stack, scene: Item
) -> None:
    def image_tokens() -> float:
        found = re.search(r"^fovea_image_tokens_sum (\S+)$", metrics_of(fp8), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    before = image_tokens()
    one = ask(client, fp8.model, parts(scene.data_url, "Hi"), max_tokens=1).usage.prompt_tokens
    priced = image_tokens() - before
    text_only = ask(client, fp8.model, [text_part("Hi")], max_tokens=1).usage.prompt_tokens
    assert one == text_only + priced


def test_several_pictures_cost_what_each_costs(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    url = scene.data_url
    image = parts(url, "")[0]
    usage = [
        ask(client, fp8.model, [image] * n + [text_part("Hi")], max_tokens=1).usage.prompt_tokens for n in (1, 2, 3)
    ]
    assert usage[2] - usage[1] == usage[1] - usage[0] > 16


def test_a_json_schema_shapes_the_answer(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "count", "schema": COUNT, "strict": True}}
    question = "Count the objects. Answer in JSON."
    answer = ask(client, fp8.model, parts(scene.data_url, question), response_format=schema)
    assert json.loads(text_of(answer)) == {"count": int(scene.truth.value)}


def test_a_named_tool_is_called_with_valid_arguments(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    function = {"name": "report", "description": "Report.", "parameters": COUNT, "strict": True}
    tool = {"type": "function", "function": function}
    choice = {"type": "function", "function": {"name": "report"}}
    content = parts(scene.data_url, "Count the objects. Answer in JSON.")
    answer = ask(client, fp8.model, content, tools=[tool], tool_choice=choice, max_tokens=96)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "report"
    assert json.loads(call.function.arguments).keys() == {"count"}


def test_logprobs_pass_through(client: openai.OpenAI, fp8: Stack, scene: Item) -> None:
    content = parts(scene.data_url, "How many objects are there?")
    answer = ask(client, fp8.model, content, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens
    assert len(tokens[0].top_logprobs) == 3
    assert max(alternative.logprob for alternative in tokens[0].top_logprobs) == tokens[0].logprob <= 0


def test_the_sdk_lists_and_retrieves_the_model(client: openai.OpenAI, fp8: Stack) -> None:
    assert [model.id for model in client.models.list()] == [fp8.model]
    assert client.models.retrieve(fp8.model).id == fp8.model


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        ([image_part(picture()[:50])], openai.BadRequestError, "invalid_image"),
        ([image_part(b"%PDF-1.7")], openai.APIStatusError, "unsupported_image_format"),
        ([text_part("x" * 5 * 1024**2)], openai.APIStatusError, "body_too_large"),
        (
            [{"type": "image_url", "image_url": {"url": "https://[::1]/x"}}],
            openai.BadRequestError,
            "image_url_refused",
        ),
    ],
)
def test_the_sdk_raises_with_our_code(
    client: openai.OpenAI, fp8: Stack, content: list[dict[str, Any]], kind: type[openai.APIError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        ask(client, fp8.model, content)
    assert caught.value.code == code


def test_an_unknown_model_is_the_sdks_not_found(client: openai.OpenAI, fp8: Stack) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, "gpt-none", [text_part("hi")])
    assert caught.value.code == "model_not_found"


def test_a_caller_that_leaves_frees_the_engine(client: openai.OpenAI, fp8: Stack) -> None:
    """An answer that would go on for 3,000 tokens ends in the engine soon after its caller has gone."""
    stream = ask(client, fp8.model, [text_part("a")], max_tokens=3000, stream=True, extra_body={"ignore_eos": True})
    for _, chunk in zip(range(3), stream, strict=False):
        assert chunk.choices
    assert 'fovea_engine_requests_running{engine="engine-0"} 1.0' in metrics_of(fp8)
    stream.close()
    deadline = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(f"{fp8.engine}/metrics") as response:
            running = re.findall(r"^vllm:num_requests_running\{.*\} (\S+)$", response.read().decode(), re.MULTILINE)
        if running == ["0.0"]:
            break
        assert time.monotonic() < deadline, f"still running: {running}"
        time.sleep(0.2)
    assert 'fovea_engine_requests_running{engine="engine-0"} 0.0' in metrics_of(fp8)
    assert "fovea_requests_cancelled_total 0.0" not in metrics_of(fp8)


def test_no_log_line_holds_an_image_or_a_prompt(client: openai.OpenAI, fp8: Stack) -> None:
    data = picture(colour="purple", size=(77, 55))
    ask(client, fp8.model, [image_part(data), text_part("MARKER-PROMPT")])
    with pytest.raises(openai.APIError):
        ask(client, fp8.model, [{"type": "image_url", "image_url": {"url": "https://127.0.0.1/MARKER-URL"}}])
    time.sleep(1)
    output = fp8.process.output
    assert "req-" in output
    assert "MARKER" not in output
    assert data_url(data)[30:90] not in output
