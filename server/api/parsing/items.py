"""The items of a /v1/responses input: messages, calls of tools and what came of them, reasoning."""

from typing import Any

from server.api.parsing.chat import parse_detail
from server.api.parsing.fields import refuse_fields
from server.domain import Detail, ImageSource, Json
from server.errors import CallerError, FieldRefused

MOST_ITEMS = 4096
ROLES = frozenset({"user", "assistant", "system", "developer"})
MESSAGE_FIELDS = frozenset({"type", "role", "content", "id", "status", "phase"})
OUTPUT_FIELDS = frozenset({"type", "id", "call_id", "output", "status", "name"})
# What the engine reads of items that hold no picture, and in which of their fields their text is.
PASSED_ITEMS: dict[str, tuple[frozenset[str], str]] = {
    "function_call": (
        frozenset({"type", "id", "call_id", "name", "namespace", "arguments", "status"}),
        "arguments",
    ),
    "custom_tool_call": (frozenset({"type", "id", "call_id", "name", "namespace", "input", "status"}), "input"),
}
REASONING_FIELDS = frozenset({"type", "id", "summary", "content", "encrypted_content", "status"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
TEXT_PARTS = {
    "input_text": (frozenset({"type", "text"}), "text"),
    "output_text": (frozenset({"type", "text", "annotations", "logprobs"}), "text"),
    "refusal": (frozenset({"type", "refusal"}), "refusal"),
    "summary_text": (frozenset({"type", "text"}), "text"),
    "reasoning_text": (frozenset({"type", "text"}), "text"),
}
GIVEN_PARTS = frozenset({"input_text", "input_image"})
SAID_PARTS = frozenset({"output_text", "refusal"})
IMAGE_FIELDS = frozenset({"type", "image_url", "file_id", "detail"})


def parse_items(given: Any) -> tuple[list[ImageSource], int]:
    """The images of an input in order, and the bytes of its text. Raises FieldRefused or CallerError."""
    if isinstance(given, str) and given:
        return [], len(given)
    if not isinstance(given, list) or not given:
        raise CallerError("The field 'input' must be a string, or a list with at least one item.", "input")
    if len(given) > MOST_ITEMS:
        raise CallerError(f"At most {MOST_ITEMS} items are taken.", "input")
    images: list[ImageSource] = []
    return images, sum(parse_item(item, f"input[{index}]", images) for index, item in enumerate(given))


def parse_item(item: Any, path: str, images: list[ImageSource]) -> int:
    """Bytes of text in one item; its images are appended to `images`."""
    if not isinstance(item, dict):
        raise CallerError("An item of the input must be an object.", path)
    drop_unset(item)
    kind = item.get("type")
    if kind == "message" or (kind is None and "role" in item):
        return parse_message(item, path, images)
    if kind == "item_reference" or (kind is None and "id" in item):
        raise FieldRefused("Items are not kept: send the item itself instead of a reference to it.", path)
    if not isinstance(kind, str):
        raise CallerError("An item of the input must have a type or a role.", f"{path}.type")
    if kind in OUTPUTS:
        refuse_fields(item, OUTPUT_FIELDS, path)
        check_strings(item, ("call_id",), path)
        return parse_parts(item.get("output"), f"{path}.output", GIVEN_PARTS, images)
    if kind in PASSED_ITEMS:
        fields, text = PASSED_ITEMS[kind]
        refuse_fields(item, fields, path)
        check_strings(item, ("call_id", "name", text), path)
        return len(item[text])
    if kind == "reasoning":
        return parse_reasoning(item, path)
    raise FieldRefused(
        "Items of this type are not taken: they belong to tools that are not run here.", f"{path}.type"
    )


def parse_message(item: Json, path: str, images: list[ImageSource]) -> int:
    refuse_fields(item, MESSAGE_FIELDS, path)
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise CallerError("The role of a message is user, assistant, system or developer.", f"{path}.role")
    content: Any = item.get("content")
    allowed = SAID_PARTS if role == "assistant" else GIVEN_PARTS
    text_bytes = parse_parts(content, f"{path}.content", allowed, images)
    if role != "assistant":
        return text_bytes
    # Of what the assistant said vLLM reads one part alone, and that only as an output_text of a typed message.
    text = content if isinstance(content, str) else "".join(part[TEXT_PARTS[part["type"]][1]] for part in content)
    item.update(type="message", content=[{"type": "output_text", "text": text, "annotations": []}])
    return text_bytes


def parse_reasoning(item: Json, path: str) -> int:
    refuse_fields(item, REASONING_FIELDS, path)
    text_bytes = 0
    for field, kind in (("summary", "summary_text"), ("content", "reasoning_text")):
        if item.get(field):
            text_bytes += parse_parts(item[field], f"{path}.{field}", frozenset({kind}), [])
    return text_bytes


def parse_parts(content: Any, path: str, allowed: frozenset[str], images: list[ImageSource]) -> int:
    """Bytes of text in a string or in a list of parts of the `allowed` types."""
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list) or not content:
        raise CallerError("This must be a string, or a list with at least one part.", path)
    text_bytes = 0
    for index, part in enumerate(content):
        part_path = f"{path}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str) or kind not in allowed:
            raise CallerError(f"Parts taken here: {', '.join(sorted(allowed))}.", f"{part_path}.type")
        drop_unset(part)
        if kind == "input_image":
            images.append(parse_image(part, part_path))
        else:
            fields, text = TEXT_PARTS[kind]
            refuse_fields(part, fields, part_path)
            check_strings(part, (text,), part_path)
            text_bytes += len(part[text])
    return text_bytes


def parse_image(part: Json, path: str) -> ImageSource:
    """An image by its URL or by the id of an uploaded file."""
    refuse_fields(part, IMAGE_FIELDS, path)
    detail = parse_detail_of(part.get("detail"), f"{path}.detail")
    url, file_id = part.get("image_url"), part.get("file_id")
    if (url is None) == (file_id is None):
        raise CallerError("An image is given by its image_url or by its file_id, one of them.", path)
    if file_id is None:
        if not isinstance(url, str) or not url:
            raise CallerError("The image_url of an input_image is a string.", f"{path}.image_url")
        return ImageSource(f"{path}.image_url", url, part, detail, "responses")
    if not isinstance(file_id, str) or not file_id.startswith("file-"):
        raise CallerError("The file_id of an image has the form file-...", f"{path}.file_id")
    return ImageSource(f"{path}.file_id", file_id, part, detail, "responses")


def parse_detail_of(detail: Any, path: str) -> Detail:
    """As in chat; `original`, which this route has besides, is as close as there is."""
    return "high" if detail == "original" else parse_detail(detail, path)


def drop_unset(value: Json) -> None:
    """Answers name every field that there is, and are sent back as they came."""
    for field in [field for field, held in value.items() if held is None]:
        del value[field]


def check_strings(item: Json, fields: tuple[str, ...], path: str) -> None:
    for field in fields:
        if not isinstance(item.get(field), str):
            raise CallerError(f"The field '{field}' must be a string.", f"{path}.{field}")
