"""/v1/chat/completions: messages, and the parts of their content."""

from typing import Any

from server.api.parsing.fields import OPENAI_FIELDS, VLLM_FIELDS, refuse_fields
from server.domain import Detail, ImageSource, Json
from server.errors import CallerError, FieldRefused, FileNotFound

FIELDS = (
    OPENAI_FIELDS
    | VLLM_FIELDS
    | frozenset(
        "messages max_completion_tokens tools tool_choice parallel_tool_calls top_logprobs reasoning_effort"
        " include_reasoning verbosity prediction modalities add_generation_prompt continue_final_message"
        " chat_template_kwargs".split()
    )
)
IMAGE_PART_FIELDS = frozenset({"type", "image_url"})
IMAGE_URL_FIELDS = frozenset({"url", "detail"})
DETAILS: dict[str, Detail] = {"auto": "auto", "low": "low", "high": "high"}
FILE_PART_FIELDS = frozenset({"type", "file"})
FILE_FIELDS = frozenset({"file_id", "file_data", "filename"})
PASSED_PARTS = frozenset({"text", "refusal"})
MESSAGE_STRINGS = frozenset("name tool_call_id reasoning reasoning_content refusal".split())
MESSAGE_OBJECTS = frozenset("tool_calls function_call annotations audio".split())
MOST_MESSAGES = 4096
MOST_CALLS = 128


def parse(body: Json) -> tuple[list[ImageSource], int]:
    """The images of a conversation in order, and the bytes of its text. Raises FieldRefused or CallerError."""
    return parse_messages(body.get("messages"))


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
        check_message(message, path)
        text_bytes += parse_content(message.get("content"), f"{path}.content", images)
    return images, text_bytes


def check_message(message: Json, path: str) -> None:
    """What clients send back of earlier answers is let through; nothing that vLLM knows of its own beside it."""
    for field, value in message.items():
        if value is None or field in ("role", "content"):
            continue
        if field in MESSAGE_STRINGS:
            if not isinstance(value, str):
                raise CallerError(f"The field '{field}' of a message must be a string.", f"{path}.{field}")
        elif field not in MESSAGE_OBJECTS:
            raise FieldRefused(f"The field '{field}' is not accepted here.", f"{path}.{field}")
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or len(calls) > MOST_CALLS:
        raise CallerError(f"Tool calls are a list of at most {MOST_CALLS}.", f"{path}.tool_calls")


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
        elif kind == "file":
            images.append(parse_file_part(part, part_path))
        elif kind == "video_url":
            images.append(parse_video_part(part, part_path))
        elif isinstance(kind, str) and kind in PASSED_PARTS:
            text_bytes += parse_text_part(part, kind, part_path)
        else:
            raise CallerError(
                "Content parts of this type are not taken: use text, image_url, file or video_url.",
                f"{part_path}.type",
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
    detail: Detail = "auto"
    if isinstance(image, str):
        url: Any = image
    elif isinstance(image, dict):
        refuse_fields(image, IMAGE_URL_FIELDS, f"{path}.image_url")
        url = image.get("url")
        detail = parse_detail(image.get("detail"), f"{path}.image_url.detail")
    else:
        url = None
    if not isinstance(url, str) or not url:
        raise CallerError("An image part must hold image_url.url.", f"{path}.image_url")
    return ImageSource(f"{path}.image_url", url, part, detail)


def parse_file_part(part: Json, path: str) -> ImageSource:
    """A file of which we take images alone, by id or as a data URL: it becomes the image part that engines know."""
    refuse_fields(part, FILE_PART_FIELDS, path)
    file = part.get("file")
    if not isinstance(file, dict):
        raise CallerError("A file part must hold a file.", f"{path}.file")
    refuse_fields(file, FILE_FIELDS, f"{path}.file")
    file_id, data = file.get("file_id"), file.get("file_data")
    if (file_id is None) == (data is None):
        raise CallerError("A file part must hold either file_id or file_data.", f"{path}.file")
    if data is not None:
        if not isinstance(data, str) or data[:11].lower() != "data:image/":
            raise CallerError(
                "Of files only images are taken, as data:image/...;base64,...", f"{path}.file.file_data"
            )
        field, url = "file_data", data
    else:
        if not isinstance(file_id, str) or not file_id.startswith("file-"):
            raise FileNotFound("There is no such file.", f"{path}.file.file_id")
        field, url = "file_id", file_id
    part.clear()
    part.update({"type": "image_url", "image_url": {}})
    return ImageSource(f"{path}.file.{field}", url, part)


def parse_video_part(part: Json, path: str) -> ImageSource:
    refuse_fields(part, frozenset({"type", "video_url"}), path)
    video = part.get("video_url")
    if isinstance(video, dict):
        refuse_fields(video, frozenset({"url"}), f"{path}.video_url")
        video = video.get("url")
    if not isinstance(video, str) or not video:
        raise CallerError("A video part must hold video_url.url.", f"{path}.video_url")
    return ImageSource(f"{path}.video_url", video, part, shape="video")


def parse_detail(detail: Any, path: str) -> Detail:
    """How closely the model shall look; absent: auto."""
    if detail is None:
        return "auto"
    if isinstance(detail, str) and detail in DETAILS:
        return DETAILS[detail]
    raise CallerError("The detail of an image is auto, low or high.", path)
