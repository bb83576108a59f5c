"""Fields: what would reach inside vLLM, what has the wrong type, and what would cost others their engine."""

from typing import Any

import pytest

from tests.hostile.scene import CHAT, COMPLETIONS, Scene
from tests.pictures import chat, image_part, text_part

ROUTES = (CHAT, COMPLETIONS)
# vLLM 0.32's own, of its protocol files: identities of caches, things to fetch or load, what others pay for.
INSIDE = """uuid cache_salt mm_processor_kwargs media_io_kwargs kv_transfer_params ec_transfer_params vllm_xargs
    chat_template documents prompt_embeds image_embeds logits_processors priority request_id session_id
    prompt_logprobs logprob_token_ids truncate_prompt_tokens truncation_side use_beam_search early_stopping
    return_token_ids return_tokens_as_token_ids return_prompt_text return_mm_kwargs mm_payload return_token_offsets
    routed_experts_prompt_start repetition_detection stream_interval watermarking thinking_token_budget
    guided_json guided_regex guided_grammar guided_choice guided_decoding_backend data_parallel_rank
    lora_request lora_path extra_body extra_args multi_modal_data multi_modal_uuids mm_hashes mm_features
    encoder_cache trust_remote_code api_key base_url audio web_search_options functions function_call""".split()
NESTED = [[{"a": [[[]]]}]]


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}


def tool(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}


WRONG: dict[str, dict[str, Any]] = {
    "model, none": {"model": None},
    "model, empty": {"model": ""},
    "model, a number": {"model": 1},
    "model, a list": {"model": ["demo"]},
    "model, an object": {"model": {"id": "demo"}},
    "stream, a string": {"stream": "true"},
    "stream, a number": {"stream": 1},
    "stream, a list": {"stream": [True]},
    "max_tokens, none of them": {"max_tokens": 0},
    "max_tokens, below zero": {"max_tokens": -1},
    "max_tokens, a fraction": {"max_tokens": 1.5},
    "max_tokens, a whole fraction": {"max_tokens": 1.0},
    "max_tokens, a boolean": {"max_tokens": True},
    "max_tokens, a string": {"max_tokens": "8"},
    "max_tokens, beyond 64 bits": {"max_tokens": 2**70},
    "n, a million": {"n": 1_000_000},
    "n, 17": {"n": 17},
    "n, zero": {"n": 0},
    "n, below zero": {"n": -1},
    "n, a boolean": {"n": True},
    "n, a fraction": {"n": 1.5},
    "n, a string": {"n": "1"},
    "logprobs, a million": {"logprobs": 1_000_000},
    "logprobs, all": {"logprobs": -1},
    "logprobs, a string": {"logprobs": "5"},
    "stop, a thousand": {"stop": [f"x{n}" for n in range(1000)]},
    "stop, a megabyte": {"stop": "x" * 1_000_000},
    "stop, a number": {"stop": 1},
    "stop, numbers": {"stop": [1]},
    "stop, an object": {"stop": {"a": 1}},
    "stop_token_ids, below zero": {"stop_token_ids": [-1]},
    "stop_token_ids, a million": {"stop_token_ids": [1] * 500_000},
    "stop_token_ids, beyond 64 bits": {"stop_token_ids": [2**70]},
    "stop_token_ids, booleans": {"stop_token_ids": [True]},
    "stop_token_ids, a string": {"stop_token_ids": "1"},
    "bad_words, a thousand": {"bad_words": ["a"] * 1000},
    "bad_words, long": {"bad_words": ["a " * 5000]},
    "bad_words, a string": {"bad_words": "a"},
    "allowed_token_ids, below zero": {"allowed_token_ids": [-1]},
    "allowed_token_ids, 10,000": {"allowed_token_ids": list(range(10_000))},
    "logit_bias, 10,000": {"logit_bias": {str(n): 1 for n in range(10_000)}},
    "logit_bias, a list": {"logit_bias": [1]},
    "metadata, 100": {"metadata": {str(n): "a" for n in range(100)}},
    "metadata, a string": {"metadata": "a"},
    "response_format, 100,000 values": {"response_format": json_schema({"enum": [str(n) for n in range(100_000)]})},
    "response_format, 200 deep": {"response_format": json_schema(nested(200))},
    "response_format, of elsewhere": {"response_format": json_schema({"$ref": "http://127.0.0.1:1/a.json"})},
    "response_format, of a file": {"response_format": json_schema({"$ref": "file:///etc/passwd"})},
    "response_format, of a file beside": {"response_format": json_schema({"$ref": "other.json#/a"})},
    "response_format, a pattern bomb": {"response_format": json_schema({"pattern": "((a{99}){99}){99}"})},
    "response_format, a long pattern": {"response_format": json_schema({"pattern": "a" * 10_000})},
    "structured_outputs, a list": {"structured_outputs": [1]},
    "structured_outputs, a string": {"structured_outputs": "json"},
    "structured_outputs, regex bomb": {"structured_outputs": {"regex": "((a|b){1,1000}){1,1000}"}},
    "structured_outputs, regex bomb, optional": {"structured_outputs": {"regex": "(a?){5000}a{5000}"}},
    "structured_outputs, regex of a large number": {"structured_outputs": {"regex": "a{99999999999999999999}"}},
    "structured_outputs, a long regex": {"structured_outputs": {"regex": "a" * 10_000}},
    "structured_outputs, a regex that is none": {"structured_outputs": {"regex": 5}},
    "structured_outputs, whitespace bomb": {
        "structured_outputs": {"json": {}, "whitespace_pattern": "(a?){5000}a{5000}"}
    },
    "structured_outputs, 100,000 choices": {"structured_outputs": {"choice": [str(n) for n in range(100_000)]}},
    "structured_outputs, choices of numbers": {"structured_outputs": {"choice": [1]}},
    "structured_outputs, a long grammar": {"structured_outputs": {"grammar": "root ::= " + "'a' " * 20_000}},
    "structured_outputs, JSON in a long string": {"structured_outputs": {"json": "[" * 100_000}},
    "structured_outputs, a long tag": {"structured_outputs": {"structural_tag": "[" * 100_000}},
    "structured_outputs, 200 deep": {"structured_outputs": {"json": nested(200)}},
}
WRONG_IN_CHAT: dict[str, dict[str, Any]] = {
    "messages, none": {"messages": None},
    "messages, empty": {"messages": []},
    "messages, a string": {"messages": "hi"},
    "messages, an object": {"messages": {"role": "user"}},
    "messages, 4097": {"messages": [{"role": "user", "content": "a"}] * 4097},
    "a message that is a string": {"messages": ["hi"]},
    "a message without a role": {"messages": [{"content": "hi"}]},
    "a role that is a number": {"messages": [{"role": 1, "content": "hi"}]},
    "content that is a number": {"messages": [{"role": "user", "content": 5}]},
    "content that is an object": {"messages": [{"role": "user", "content": {"type": "text"}}]},
    "content of strings": {"messages": [{"role": "user", "content": ["hi"]}]},
    "content of lists": {"messages": [{"role": "user", "content": NESTED}]},
    "a part without a type": {"messages": [{"role": "user", "content": [{"text": "a"}]}]},
    "a part whose type is a list": {"messages": [{"role": "user", "content": [{"type": ["text"]}]}]},
    "a text that is a number": {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
    "an audio part": {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    "an audio URL": {"messages": [{"role": "user", "content": [{"type": "audio_url", "audio_url": {}}]}]},
    "embeddings for an image": {"messages": [{"role": "user", "content": [{"type": "image_embeds"}]}]},
    "a picture of Pillow's": {"messages": [{"role": "user", "content": [{"type": "image_pil"}]}]},
    "a part in capitals": {"messages": [{"role": "user", "content": [{"type": "IMAGE_URL", "image_url": "a"}]}]},
    "max_completion_tokens, zero": {"max_completion_tokens": 0},
    "top_logprobs, a million": {"top_logprobs": 1_000_000},
    "top_logprobs, all": {"top_logprobs": -1},
    "tools, 129": {"tools": [tool({})] * 129},
    "tools, an object": {"tools": {"a": 1}},
    "tools, 200 deep": {"tools": [tool(nested(200))]},
    "tools, 100,000 values": {"tools": [tool({"enum": list(range(100_000))})]},
    "tools, of elsewhere": {"tools": [tool({"$ref": "https://evil.example/a.json"})]},
    "tool calls, 129": {"messages": [{"role": "assistant", "tool_calls": [call("{}")] * 129}]},
    "tool calls, a string": {"messages": [{"role": "assistant", "tool_calls": "abc"}]},
    "a name that is a number": {"messages": [{"role": "user", "content": "a", "name": 5}]},
    "reasoning that is an object": {"messages": [{"role": "assistant", "content": "a", "reasoning": {"a": 1}}]},
    "template switches, a string": {"chat_template_kwargs": "a"},
    "template switches, 17": {"chat_template_kwargs": {str(n): True for n in range(17)}},
    "template switches, long": {"chat_template_kwargs": {"a": "b" * 300}},
    "a detail of another kind": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a", "detail": "x"}}]}]
    },
    "an image that is a list": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": []}]}]
    },
    "an image that is null": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": None}]}]
    },
    "a URL that is null": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": None}}]}]
    },
    "a URL that is a number": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}]
    },
    "a URL that is empty": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]
    },
}
SWITCHES = """chat_template conversation messages tools documents tokenize tokenizer_kwargs processor_kwargs padding
    truncation max_length return_tensors return_dict add_generation_prompt continue_final_message""".split()
WRONG_PROMPTS: dict[str, Any] = {
    "none": None,
    "empty": [],
    "a number": 1,
    "an object": {"a": 1},
    "a token below zero": [-1],
    "a token that is a boolean": [True, 1],
    "a token that is a fraction": [1.5],
    "tokens and strings": [1, "a"],
    "lists and strings": [[1], "a"],
    "an empty list within": [[]],
    "lists of lists": [[[1]]],
    "lists of strings": [["a"]],
    "1,000 prompts": ["a"] * 1000,
    "65 lists": [[1]] * 65,
    "embeddings": [{"prompt_embeds": "AAAA"}],
    "null within": ["a", None],
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("field", INSIDE)
def test_a_field_that_reaches_inside_the_engine_is_refused_by_name(scene: Scene, field: str, path: str) -> None:
    for value in (None, 1, "a", {"a": 1}):
        error = scene.refused(scene.post(path, {"model": "demo", field: value}), 400, "field_not_allowed")
        assert error["param"] == field


@pytest.mark.parametrize(
    "field", ["uuid", "cache_salt", "image_embeds", "mm_hash", "media_io_kwargs", "tools", "task"]
)
def test_nor_does_it_pass_in_a_message_or_a_part(scene: Scene, field: str) -> None:
    message = {"role": "user", "content": "hi", field: "chosen"}
    scene.refused(scene.post(CHAT, {"model": "demo", "messages": [message]}), 400, "field_not_allowed")
    for part in (image_part(), text_part("a")):
        scene.refused(scene.post(CHAT, chat({**part, field: "chosen"})), 400, "field_not_allowed")
    inner = image_part()
    inner["image_url"][field] = "chosen"
    scene.refused(scene.post(CHAT, chat(inner)), 400, "field_not_allowed")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("name", WRONG)
def test_a_field_of_the_wrong_kind_or_size_is_refused(scene: Scene, name: str, path: str) -> None:
    given = {"messages": [{"role": "user", "content": "a"}]} if path == CHAT else {"prompt": "a"}
    error = scene.refused(scene.post(path, {"model": "demo", **given, **WRONG[name]}), 400, "invalid_request")
    assert error["param"].startswith(name.partition(",")[0])


@pytest.mark.parametrize("name", WRONG_IN_CHAT)
def test_a_chat_of_the_wrong_kind_or_size_is_refused(scene: Scene, name: str) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "a"}], **WRONG_IN_CHAT[name]}
    scene.refused(scene.post(CHAT, body), 400, "invalid_request")


@pytest.mark.parametrize("name", SWITCHES)
def test_the_templates_own_insides_are_no_switches(scene: Scene, name: str) -> None:
    for value in (True, "a", [1]):
        error = scene.refused(scene.post(CHAT, chat(chat_template_kwargs={name: value})), 400, "field_not_allowed")
        assert error["param"] == f"chat_template_kwargs.{name}"


@pytest.mark.parametrize("name", WRONG_PROMPTS)
def test_a_prompt_of_the_wrong_kind_or_size_is_refused(scene: Scene, name: str) -> None:
    body = {"model": "demo", "prompt": WRONG_PROMPTS[name]}
    assert scene.refused(scene.post(COMPLETIONS, body), 400, "invalid_request")["param"] == "prompt"


def test_the_log_probabilities_of_a_prompt_are_not_told(scene: Scene) -> None:
    body = {"model": "demo", "prompt": "a", "echo": True, "logprobs": 1}
    scene.refused(scene.post(COMPLETIONS, body), 400, "field_not_allowed")


def test_no_way_to_choose_an_engine_of_ones_own(scene: Scene) -> None:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "a"}],
        "structured_outputs": {"_backend": "a"},
    }
    scene.refused(scene.post(CHAT, body), 400, "field_not_allowed")


def test_what_asks_for_more_than_the_context_is_refused(scene: Scene) -> None:
    scene.refused(scene.post(CHAT, chat(max_tokens=2**62)), 400, "context_length_exceeded")
    scene.refused(scene.post(CHAT, chat(max_tokens=8, max_completion_tokens=5000)), 400, "context_length_exceeded")


def test_seventeen_images_are_one_too_many(scene: Scene) -> None:
    error = scene.refused(scene.post(CHAT, chat(*[image_part()] * 17)), 400, "too_many_images")
    assert error["param"].startswith("messages[0].content[16]")


def test_a_million_parts_are_refused(scene: Scene) -> None:
    part = b'{"type":"text","text":"a"},'
    body = b'{"model":"demo","messages":[{"role":"user","content":[' + part * 600_000 + b'{"type":"x"}]}]}'
    scene.refused(scene.post(CHAT, body), 400, "invalid_json")


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 16},
        {"stop": ["a", "b", "c", "d"]},
        {"stop": "a"},
        {"logprobs": True, "top_logprobs": 20},
        {"response_format": json_schema(nested(8))},
        {"response_format": json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}})},
        {
            "response_format": json_schema(
                {"pattern": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"}
            )
        },
        {"structured_outputs": {"regex": "\\d{4}-\\d{2}-\\d{2}"}},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"tools": [tool(nested(4))] * 128, "tool_choice": "required"},
        {"logit_bias": {"1": 5}, "bad_words": ["a"], "allowed_token_ids": [1, 2, 3], "stop_token_ids": [1]},
        {"n": None, "stop": None, "tools": None, "metadata": None, "chat_template_kwargs": None},
    ],
)
def test_what_honest_callers_ask_for_passes(scene: Scene, fields: dict[str, Any]) -> None:
    body = chat(**fields)
    answer = scene.post(CHAT, body)
    assert answer.status_code == 200, answer.text
    assert scene.engine.chats() == [body]
    scene.engine.seen.clear()


def test_an_answer_sent_back_as_clients_do_passes(scene: Scene) -> None:
    earlier = {
        "role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None,
        "function_call": None, "tool_calls": [call("{}")], "reasoning": "so",
        "reasoning_content": "so", "parsed": None,
    }  # fmt: skip
    after = {"role": "tool", "tool_call_id": "a", "content": "5"}
    body = {"model": "demo", "messages": [{"role": "user", "content": "a", "name": "ann"}, earlier, after]}
    assert scene.post(CHAT, body).status_code == 200
    scene.engine.seen.clear()
