"""The form of an upload: a multipart body, part by part; the file's bytes are passed on, never kept."""

import logging

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from server.api.files.dialect import Dialect
from server.errors import CallerError, FieldRefused, MalformedUpload, WrongMediaType
from server.files.upload import Described

# Its warnings quote bytes of the body.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)

MOST_PARTS = 8
MOST_HEADERS = 8
MOST_HEADER_BYTES = 2048
MOST_FIELD_BYTES = 1024
MOST_NAME_BYTES = 255


class UploadForm:
    """Sorts the parts of one body: pieces of `file` are handed on, the few other fields kept."""

    def __init__(self, boundary: bytes, dialect: Dialect) -> None:
        self._dialect = dialect
        self._pieces: list[bytes] = []
        self._fields: dict[str, bytearray] = {}
        self._filename: str | None = None
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header_name, self._header_value = bytearray(), bytearray()
        self._current: bytearray | None = None  # the field being read; None inside the file
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take,
                "on_end": self._end,
            },
            max_header_count=MOST_HEADERS,
            max_header_size=MOST_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """The pieces of the file in `chunk`. Raises MalformedUpload or FieldRefused."""
        self._pieces = []
        try:
            self._parser.write(chunk)
        except FormParserError as problem:
            raise MalformedUpload("The body is not valid multipart/form-data.") from problem
        return self._pieces

    def finish(self) -> Described:
        """Raises MalformedUpload or CallerError where the body was cut short, or says too little or nonsense."""
        if not self._ended:
            raise MalformedUpload("The body ends before its last boundary.")
        if self._filename is None:
            raise CallerError("The field 'file' is missing.", "file")
        texts = {name: bytes(value).decode("utf-8", "replace") for name, value in self._fields.items()}
        return self._dialect.describe_upload(self._filename, texts)

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise MalformedUpload(f"At most {MOST_PARTS} parts are taken.")
        self._headers = {}

    def _end_header(self) -> None:
        name = bytes(self._header_name).lower()
        if name in self._headers:
            raise MalformedUpload("A part has the same header twice.")
        self._headers[name] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        name, filename = read_disposition(self._headers)
        if name == "file":
            if self._filename is not None:
                raise MalformedUpload("One file an upload is taken.", "file")
            self._filename, self._current = filename or self._dialect.unnamed, None
            if self._filename is None:
                raise MalformedUpload("The part 'file' must have a file name.", "file")
            return
        if name not in self._dialect.fields:
            raise FieldRefused(f"Fields other than file, {', '.join(self._dialect.fields)} are not accepted here.")
        if filename is not None or name in self._fields:
            raise MalformedUpload(f"The field '{name}' must be one text.", name)
        self._current = self._fields[name] = bytearray()

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._current is None:
            self._pieces.append(data[start:end])
            return
        self._current.extend(data[start:end])
        if len(self._current) > MOST_FIELD_BYTES:
            raise MalformedUpload(f"A field has more than {MOST_FIELD_BYTES} bytes.")

    def _end(self) -> None:
        self._ended = True


def read_disposition(headers: dict[bytes, bytes]) -> tuple[str, str | None]:
    """Name and file name of a part. Raises MalformedUpload."""
    kind, options = parse_options_header(headers.get(b"content-disposition", b"").decode("latin-1"))
    if kind != b"form-data" or b"name" not in options:
        raise MalformedUpload("Every part must be form-data with a name.")
    if headers.get(b"content-type", b"").lower().lstrip().startswith(b"multipart/"):
        raise MalformedUpload("Parts inside parts are not taken.")
    if headers.get(b"content-transfer-encoding", b"binary").lower().strip() not in (b"binary", b"8bit", b"7bit"):
        raise MalformedUpload("Parts must be sent as they are, not encoded.")
    name, filename = options[b"name"].decode("latin-1"), options.get(b"filename")
    return name, read_filename(filename) if filename else None


def read_filename(raw: bytes) -> str:
    """The last part of a path, whichever way its slashes lean: a name to show, never one to open."""
    try:
        name = raw.decode().replace("\\", "/").rpartition("/")[2]
    except UnicodeDecodeError as problem:
        raise MalformedUpload("The file name is not UTF-8.", "file") from problem
    if not name or name in (".", "..") or len(name.encode()) > MOST_NAME_BYTES or not name.isprintable():
        raise MalformedUpload(f"The file name must be printable and have 1 to {MOST_NAME_BYTES} bytes.", "file")
    return name


def read_boundary(content_type: str | None) -> bytes:
    """Raises WrongMediaType or MalformedUpload."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise WrongMediaType("Send the upload as content-type multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046
        raise MalformedUpload("The content-type must name a boundary of 1 to 70 characters.")
    return boundary
