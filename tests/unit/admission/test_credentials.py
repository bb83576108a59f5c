import pytest

from server.admission.credentials import MOST_CREDENTIAL_BYTES, read_credential
from server.errors import Unauthenticated

OTHER = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer fv-1")],
        [(b"authorization", b"bearer fv-1")],
        [(b"authorization", b"BEARER   fv-1  ")],
        [(b"x-api-key", b"fv-1")],
        [(b"x-api-key", b" fv-1 "), OTHER],
        [(b"authorization", b"Bearer fv-1"), (b"x-api-key", b"fv-1")],
    ],
)
def test_a_key_is_read_from_either_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert read_credential([OTHER, *headers]) == b"fv-1"


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ([], "is required"),
        ([(b"authorization", b"")], "scheme must be Bearer"),
        ([(b"authorization", b"fv-1")], "scheme must be Bearer"),
        ([(b"authorization", b"Basic Zm9v")], "scheme must be Bearer"),
        ([(b"authorization", b"Bearerfv-1")], "scheme must be Bearer"),
        ([(b"authorization", b"Bearer\tfv-1")], "scheme must be Bearer"),
        ([(b"authorization", b"Bearer")], "is empty"),
        ([(b"authorization", b"Bearer   ")], "is empty"),
        ([(b"x-api-key", b"")], "is empty"),
        ([(b"authorization", b"Bearer fv 1")], "cannot be an API key"),
        ([(b"authorization", b"Bearer fv-1, Bearer fv-2")], "cannot be an API key"),
        ([(b"authorization", b"Bearer fv\x001")], "cannot be an API key"),
        ([(b"authorization", b"Bearer fv\r\n1")], "cannot be an API key"),
        ([(b"authorization", "Bearer clé".encode())], "cannot be an API key"),
        ([(b"x-api-key", b"fv-\xff")], "cannot be an API key"),
        ([(b"authorization", b"Bearer " + b"x" * (MOST_CREDENTIAL_BYTES + 1))], "cannot be an API key"),
        ([(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")], "several times"),
        ([(b"x-api-key", b"a"), (b"x-api-key", b"b")], "several times"),
        ([(b"authorization", b"Bearer a"), (b"x-api-key", b"b")], "two different keys"),
        ([(b"authorization", b"Basic a"), (b"x-api-key", b"b")], "scheme must be Bearer"),
    ],
)
def test_everything_else_is_refused_and_never_quoted(headers: list[tuple[bytes, bytes]], sentence: str) -> None:
    with pytest.raises(Unauthenticated, match=sentence) as caught:
        read_credential(headers)
    assert "fv" not in caught.value.message
