"""Request bodies into `ParsedRequest`: types only what the gateway must understand, refuses what reaches inside.

Top-level fields are an allowlist: OpenAI's, and those sampling fields of vLLM that touch nothing but their own
request. Everything on it passes through untouched. What is not on it is refused by name.
"""

from typing import Any

import orjson

from server.domain import ImageSource, Json, ParsedRequest, Route
from server.errors import CallerError, FieldRefused, MalformedBody

OPENAI_FIELDS = frozenset(
    "model stream stream_options max_tokens temperature top_p n stop presence_penalty frequency_penalty"
    " logit_bias logprobs seed user metadata store service_tier response_format".split()
)
VLLM_FIELDS = frozenset(
    "top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output ignore_eos"
    " min_tokens skip_special_tokens spaces_between_special_tokens structured_outputs bad_words"
    " allowed_token_ids add_special_tokens echo".split()
)
CHAT_FIELDS = frozenset(
    "messages max_completion_tokens tools tool_choice parallel_tool_calls top_logprobs reasoning_effort"
    " include_reasoning verbosity prediction modalities add_generation_prompt continue_final_message"
    " chat_template_kwargs".split()
)
FIELDS: dict[Route, frozenset[str]] = {
    "chat": OPENAI_FIELDS | VLLM_FIELDS | CHAT_FIELDS,
    "completions": OPENAI_FIELDS | VLLM_FIELDS | frozenset({"prompt", "best_of", "suffix"}),
}
IMAGE_PART_FIELDS = frozenset({"type", "image_url"})
IMAGE_URL_FIELDS = frozenset({"url", "detail"})
PASSED_PARTS = frozenset({"text", "refusal"})
MOST_MESSAGES = 4096


def parse_request(route: Route, raw: bytes) -> ParsedRequest:
    """Parse and check one body. Raises MalformedBody, FieldRefused or CallerError, naming the part at fault."""
    body = parse_json(raw)
    for field in body:
        if field not in FIELDS[route]:
            raise FieldRefused(f"The field '{field}' is not accepted here.", field)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise CallerError("The field 'model' must name a model.", "model")
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise CallerError("The field 'stream' must be true or false.", "stream")
    if route == "chat":
        images, text_bytes = parse_messages(body.get("messages"))
    else:
        images, text_bytes = [], measure_prompt(body.get("prompt"))
    return ParsedRequest(route, model, stream, read_max_tokens(body), text_bytes, tuple(images), body)


def parse_json(raw: bytes) -> Json:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as problem:
        # The error's own text quotes nothing of the body, only a position.
        raise MalformedBody(f"The body is not valid JSON: {problem.msg} (byte {problem.pos}).") from problem
    if not isinstance(body, dict):
        raise MalformedBody("The body must be a JSON object.")
    return body


def parse_messages(messages: Any) -> tuple[list[ImageSource], int]:
    """The images of a conversation in order, and the bytes of its text."""
    if not isinstance(messages, list) or not messages:
        raise CallerError("The field 'messages' must be a list with at least one message.", "messages")
    if len(messages) > MOST_MESSAGES:
        raise CallerError(f"At most {MOST_MESSAGES} messages are taken.", "messages")
    images: list[ImageSource] = []
    text_bytes = 0
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, dict):
            raise CallerError("A message must be an object.", path)
        if not isinstance(message.get("role"), str):
            raise CallerError("A message must have a role.", f"{path}.role")
        text_bytes += parse_content(message.get("content"), f"{path}.content", images)
    return images, text_bytes


def parse_content(content: Any, path: str, images: list[ImageSource]) -> int:
    """Bytes of text in one message's content; its images are appended to `images`."""
    if content is None:
        return 0
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list):
        raise CallerError("Content must be a string or a list of parts.", path)
    text_bytes = 0
    for index, part in enumerate(content):
        part_path = f"{path}[{index}]"
        if not isinstance(part, dict):
            raise CallerError("A content part must be an object.", part_path)
        kind = part.get("type")
        if kind == "image_url":
            images.append(parse_image_part(part, part_path))
        elif isinstance(kind, str) and kind in PASSED_PARTS:
            text_bytes += parse_text_part(part, kind, part_path)
        else:
            raise CallerError(
                "Content parts of this type are not taken: use text or image_url.", f"{part_path}.type"
            )
    return text_bytes


def parse_text_part(part: Json, kind: str, path: str) -> int:
    refuse_fields(part, frozenset({"type", kind}), path)
    text = part.get(kind)
    if not isinstance(text, str):
        raise CallerError(f"A {kind} part must hold a string.", f"{path}.{kind}")
    return len(text)


def parse_image_part(part: Json, path: str) -> ImageSource:
    refuse_fields(part, IMAGE_PART_FIELDS, path)
    image = part.get("image_url")
    if isinstance(image, str):
        url: Any = image
    elif isinstance(image, dict):
        refuse_fields(image, IMAGE_URL_FIELDS, f"{path}.image_url")
        url = image.get("url")
        if image.get("detail", "auto") not in ("auto", "low", "high"):
            raise CallerError("The detail of an image is auto, low or high.", f"{path}.image_url.detail")
    else:
        url = None
    if not isinstance(url, str) or not url:
        raise CallerError("An image part must hold image_url.url.", f"{path}.image_url")
    return ImageSource(f"{path}.image_url", url, part)


def refuse_fields(part: Json, allowed: frozenset[str], path: str) -> None:
    for field in part:
        if field not in allowed:
            raise FieldRefused(f"The field '{field}' is not accepted here.", f"{path}.{field}")


def measure_prompt(prompt: Any) -> int:
    """Bytes of a text prompt or of a list of them; token lists count four bytes a token."""
    if isinstance(prompt, str):
        return len(prompt)
    if isinstance(prompt, list) and prompt:
        return sum(len(item) if isinstance(item, str | list) else 4 for item in prompt)
    raise CallerError("The field 'prompt' must hold a string, or a list of strings or tokens.", "prompt")


def read_max_tokens(body: Json) -> int | None:
    for field in ("max_completion_tokens", "max_tokens"):
        value = body.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CallerError(f"The field '{field}' must be a whole number of at least 1.", field)
        return value
    return None
