"""Uploads off the wire: a multipart body, read piece by piece; nothing of it is ever held whole."""

import asyncio

from starlette.types import Receive, Scope

from server.api.files.dialect import Dialect
from server.api.files.form import UploadForm, read_boundary
from server.api.leaving import ClientLeft
from server.api.wire import header
from server.errors import CallerError, FileTooLarge, WrongMediaType
from server.files.upload import Described, Upload
from server.record import current_record

# What boundaries, headers and fields may add to a file.
OVERHEAD = 64 * 1024
# Bytes of an upload that are in memory at once: what the server reads ahead, and what is being written.
IN_FLIGHT = 512 * 1024
WRITE_AT = 256 * 1024


async def read_upload(
    scope: Scope, receive: Receive, dialect: Dialect, upload: Upload, max_bytes: int, timeout_s: float
) -> Described:
    """Write the file of a multipart body to `upload` as it comes, and return what the body says of it.

    Raises FileTooLarge, before reading where the length says so; WrongMediaType, MalformedUpload, FieldRefused,
    CallerError, ClientLeft, and what `Upload.write` does.
    """
    require_own_pages(scope)
    if (header(scope, b"content-encoding") or "identity").strip().lower() != "identity":
        raise WrongMediaType("Send the body without content-encoding.")
    form = UploadForm(read_boundary(header(scope, b"content-type")), dialect)
    declared = header(scope, b"content-length")
    most = max_bytes + OVERHEAD
    if declared is not None and declared.isdecimal() and int(declared) > most:
        raise FileTooLarge(f"The file is larger than {max_bytes} bytes.", "file")
    read, waiting, pieces = 0, 0, list[bytes]()
    try:
        async with asyncio.timeout(timeout_s):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                more = message.get("more_body", False)
                chunk = message.get("body", b"")
                read += len(chunk)
                if read > most:
                    raise FileTooLarge(f"The file is larger than {max_bytes} bytes.", "file")
                for piece in form.feed(chunk):
                    pieces.append(piece)
                    waiting += len(piece)
                if waiting >= WRITE_AT:
                    await upload.write(pieces)
                    waiting, pieces = 0, []
            await upload.write(pieces)
        current_record().body_bytes = read
    except TimeoutError as problem:
        raise CallerError(f"The upload did not arrive within {timeout_s:g} s.") from problem
    return form.finish()


def require_own_pages(scope: Scope) -> None:
    """Raises CallerError. A page of any site may send a form without being asked (CORS): to a gateway on its
    reader's machine, say, which asks for no key. Programs send no Origin."""
    origin = header(scope, b"origin")
    if origin is not None and origin.partition("://")[2].lower() != (header(scope, b"host") or "").lower():
        raise CallerError("Uploads from the pages of other sites are not taken.")
