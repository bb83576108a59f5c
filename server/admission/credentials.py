"""Reads the one credential of a request's headers: `Authorization: Bearer`, or `x-api-key` (Anthropic's SDK).

Strict, because whatever two readers may read differently is a way past one of them.
"""

import re
from collections.abc import Iterable

from server.errors import Unauthenticated

Headers = Iterable[tuple[bytes, bytes]]

HOW = "Send one API key, as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'."
MOST_CREDENTIAL_BYTES = 8192
# Visible ASCII: what a header can carry without anyone's interpretation (RFC 9110, 5.5).
VISIBLE = re.compile(rb"[\x21-\x7e]+")


def read_credential(headers: Headers) -> bytes:
    """The key or token, as sent. `headers` are ASGI's: names in lower case. Raises Unauthenticated."""
    bearer = key = None
    for name, value in headers:
        if name == b"authorization":
            if bearer is not None:
                raise Unauthenticated(f"The request names its key several times. {HOW}")
            bearer = read_bearer(value)
        elif name == b"x-api-key":
            if key is not None:
                raise Unauthenticated(f"The request names its key several times. {HOW}")
            key = check_credential(value)
    if bearer is not None and key is not None and bearer != key:
        raise Unauthenticated(f"The request holds two different keys. {HOW}")
    found = bearer or key
    if found is None:
        raise Unauthenticated(f"An API key is required. {HOW}")
    return found


def read_bearer(value: bytes) -> bytes:
    scheme, _, credential = value.strip(b" ").partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated(f"The Authorization header's scheme must be Bearer. {HOW}")
    return check_credential(credential.lstrip(b" "))


def check_credential(value: bytes) -> bytes:
    value = value.strip(b" ")
    if not value:
        raise Unauthenticated(f"The API key is empty. {HOW}")
    if len(value) > MOST_CREDENTIAL_BYTES or not VISIBLE.fullmatch(value):
        raise Unauthenticated(f"This cannot be an API key: it is too long, or not visible ASCII. {HOW}")
    return value
