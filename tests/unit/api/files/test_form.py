import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.api.files.anthropic import AnthropicFiles
from server.api.files.dialect import Dialect
from server.api.files.form import UploadForm, read_boundary
from server.api.files.openai import OpenAIFiles
from server.errors import CallerError, FieldRefused, MalformedUpload, WrongMediaType
from server.files.upload import Described

BOUNDARY = b"XX"


def part(name: str, value: bytes, filename: str | None = None, *headers: str) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return b"--XX\r\n" + "\r\n".join([disposition, *headers]).encode() + b"\r\n\r\n" + value + b"\r\n"


def upload(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XX--\r\n"


def parse(body: bytes, step: int = 1 << 20, dialect: Dialect | None = None) -> tuple[Described, bytes]:
    form = UploadForm(BOUNDARY, dialect or OpenAIFiles())
    pieces = [piece for start in range(0, len(body), step) for piece in form.feed(body[start : start + step])]
    return form.finish(), b"".join(pieces)


PURPOSE = part("purpose", b"vision")


@given(st.binary(max_size=300).filter(lambda data: b"--XX" not in data), st.integers(1, 40), st.booleans())
def test_the_files_bytes_come_out_as_they_went_in_however_the_body_is_cut(
    data: bytes, step: int, first: bool
) -> None:
    file = part("file", data, "a.png", "Content-Type: image/png")
    parts = [file, PURPOSE] if first else [PURPOSE, file]
    assert parse(upload(*parts), step) == (Described("a.png", "vision", None), data)


@given(st.lists(st.sampled_from([b"\r\n--X", b"\r\n--XY", b"\r", b"\n", b"-", b"\r\n--", b"data"]), max_size=30))
def test_what_looks_like_a_boundary_and_is_none_belongs_to_the_file(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert parse(upload(part("file", data, "a.png"), PURPOSE), 7)[1] == data


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\\\Users\\\\ann\\\\cat.png", "cat.png"),
        ("..\\\\..\\\\x.png", "x.png"),
        ("Bücher 図.png", "Bücher 図.png"),
        ('a\\"b.png', 'a"b.png'),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_file_name_is_its_last_part(sent: str, kept: str) -> None:
    assert parse(upload(part("file", b"x", sent), PURPOSE))[0].filename == kept


@pytest.mark.parametrize("name", ["", ".", "..", "a/", "a\x00b", "a\x1b[31m", "x" * 256, "ü" * 128, "a\u202eb"])
def test_a_file_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(MalformedUpload):
        parse(upload(part("file", b"x", name), PURPOSE))


def test_the_wish_to_be_forgotten_is_read() -> None:
    wish = [part("expires_after[anchor]", b"created_at"), part("expires_after[seconds]", b"3600")]
    assert parse(upload(part("file", b"x", "a"), PURPOSE, *wish))[0].ttl_s == 3600


@pytest.mark.parametrize(
    ("anchor", "seconds", "param"),
    [
        (b"last_active_at", b"3600", "expires_after[anchor]"),
        (None, b"3600", "expires_after[anchor]"),
        (b"created_at", None, "expires_after[seconds]"),
        (b"created_at", b"3599", "expires_after[seconds]"),
        (b"created_at", b"2592001", "expires_after[seconds]"),
        (b"created_at", b"-3600", "expires_after[seconds]"),
        (b"created_at", b"3600.0", "expires_after[seconds]"),
        (b"created_at", "٣٦٠٠".encode(), "expires_after[seconds]"),
        (b"created_at", b"9" * 1000, "expires_after[seconds]"),
    ],
)
def test_a_nonsensical_wish_is_refused(anchor: bytes | None, seconds: bytes | None, param: str) -> None:
    wish = [
        part(f"expires_after[{name}]", value)
        for name, value in (("anchor", anchor), ("seconds", seconds))
        if value is not None
    ]
    with pytest.raises(CallerError) as caught:
        parse(upload(part("file", b"x", "a"), PURPOSE, *wish))
    assert caught.value.param == param


def test_anthropics_form_needs_no_purpose_and_no_name() -> None:
    assert parse(upload(part("file", b"x")), dialect=AnthropicFiles())[0] == Described("unnamed", "vision", None)
    named = [part("file", b"x", "a/b.png"), part("expires_in_seconds", b"7776000")]
    assert parse(upload(*named), dialect=AnthropicFiles())[0] == Described("b.png", "vision", 7_776_000)


@pytest.mark.parametrize("seconds", [b"", b"3599", b"7776001", b"-1", b"1e4", "٣٦٠٠".encode(), b"9" * 1000])
def test_anthropics_wish_to_be_forgotten_has_bounds(seconds: bytes) -> None:
    with pytest.raises(CallerError) as caught:
        parse(upload(part("file", b"x"), part("expires_in_seconds", seconds)), dialect=AnthropicFiles())
    assert caught.value.param == "expires_in_seconds"


@pytest.mark.parametrize("field", ["purpose", "expires_after[seconds]", "expires_after[anchor]", "workspace_id"])
def test_one_apis_fields_are_not_the_others(field: str) -> None:
    with pytest.raises(FieldRefused):
        parse(upload(part("file", b"x", "a"), part(field, b"vision")), dialect=AnthropicFiles())
    with pytest.raises(FieldRefused):
        parse(upload(part("file", b"x", "a"), PURPOSE, part("expires_in_seconds", b"3600")))


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(FieldRefused):
        parse(upload(part("file", b"x", "a"), PURPOSE, part("tenant", b"bob")))


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "image/png",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/form-data boundary=a",
        "multipart/mixed; boundary=a",
    ],
)
def test_a_body_that_is_no_form_or_names_no_boundary_is_refused(content_type: str | None) -> None:
    with pytest.raises((MalformedUpload, WrongMediaType)):
        read_boundary(content_type)


def test_a_quoted_boundary_is_read() -> None:
    assert read_boundary('multipart/form-data; boundary="a b"') == b"a b"
