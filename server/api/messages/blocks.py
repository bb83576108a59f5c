"""/v1/messages: what the blocks of a turn hold."""

from typing import Any

from server.api.parsing.fields import refuse_fields
from server.domain import Json
from server.errors import CallerError

TEXT_FIELDS = frozenset({"type", "text", "cache_control", "citations"})
IMAGE_FIELDS = frozenset({"type", "source", "cache_control"})
SOURCE_FIELDS = {
    "base64": frozenset({"type", "media_type", "data"}),
    "url": frozenset({"type", "url"}),
    "file": frozenset({"type", "file_id"}),
}
FILE_PREFIX = "file-"


def read_text(block: Json, path: str) -> str:
    refuse_fields(block, TEXT_FIELDS, path)
    if block.get("citations"):
        raise CallerError("Citations are not taken.", f"{path}.citations")
    return read_string(block, "text", path)


def read_image(block: Json, path: str) -> str:
    """Where the picture is, as chat says it: a data URL, a URL, or the id of a file."""
    refuse_fields(block, IMAGE_FIELDS, path)
    source, path = block.get("source"), f"{path}.source"
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(source, dict) or not isinstance(kind, str) or kind not in SOURCE_FIELDS:
        raise CallerError("An image's source must be of the type base64, url or file.", path)
    refuse_fields(source, SOURCE_FIELDS[kind], path)
    match kind:
        case "base64":
            # Its media_type is not looked at: what a picture is, its bytes tell.
            return f"data:image/png;base64,{read_string(source, 'data', path)}"
        case "url":
            return read_string(source, "url", path)
    file_id = read_string(source, "file_id", path)
    if not file_id.startswith(FILE_PREFIX):
        raise CallerError(f"The id of a file begins with {FILE_PREFIX}.", f"{path}.file_id")
    return file_id


def read_string(block: Json, field: str, path: str) -> str:
    value: Any = block.get(field)
    if not isinstance(value, str):
        raise CallerError(f"The field '{field}' must be a string.", f"{path}.{field}")
    return value
