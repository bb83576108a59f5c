"""Uploads that are none, that lie, or that hope to get further than they should."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile.raw import CLOSE, head, talk
from tests.hostile.scene import Scene, check_error, scene, wait_until
from tests.pictures import picture

PICTURE = picture()
START = b"POST /v1/files HTTP/1.1"
FORM = b"Content-Type: multipart/form-data; boundary=XX"
END = b"--XX--\r\n"
MAX_BYTES = 64 * 1024


def part(*lines: bytes, value: bytes = PICTURE) -> bytes:
    return b"--XX\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + value + b"\r\n"


def named(name: bytes, value: bytes) -> bytes:
    return part(b'Content-Disposition: form-data; name="' + name + b'"', value=value)


def file_named(name: bytes, value: bytes = PICTURE) -> bytes:
    return part(b'Content-Disposition: form-data; name="file"; filename="' + name + b'"', value=value)


def holding(data: bytes) -> bytes:
    """A whole upload of these bytes under a picture's name."""
    return file_named(b"a.png", data) + named(b"purpose", b"vision") + END


UNSUPPORTED, INVALID = "unsupported_image_format", "invalid_request"
FILE, PURPOSE = file_named(b"a.png"), named(b"purpose", b"vision")
DISPOSITION = b'Content-Disposition: form-data; name="file"; filename="a.png"'


@dataclass(frozen=True)
class Case:
    """`form` is the content-type header; `length` is what is said of the body, where it is not the truth."""

    name: str
    body: bytes
    status: int = 400
    code: str = "invalid_upload"
    form: bytes = FORM
    more: tuple[bytes, ...] = ()
    length: int | None = None

    @property
    def raw(self) -> bytes:
        said = len(self.body) if self.length is None else self.length
        return head(self.form, b"Content-Length: %d" % said, CLOSE, *self.more, start=START) + self.body


GOOD = FILE + PURPOSE + END
WRONG_TYPE = "unsupported_media_type"
CASES = [
    Case("no content-type", GOOD, form=b"Content-Type: ", status=415, code=WRONG_TYPE),
    Case("JSON", b'{"purpose":"vision"}', form=b"Content-Type: application/json", status=415, code=WRONG_TYPE),
    Case("bare picture", PICTURE, form=b"Content-Type: image/png", status=415, code=WRONG_TYPE),
    Case("multipart/mixed", GOOD, form=b"Content-Type: multipart/mixed; boundary=XX", status=415, code=WRONG_TYPE),
    Case(
        "urlencoded",
        b"purpose=vision",
        form=b"Content-Type: application/x-www-form-urlencoded",
        status=415,
        code=WRONG_TYPE,
    ),
    Case("compressed", GOOD, more=(b"Content-Encoding: gzip",), status=415, code=WRONG_TYPE),
    Case("no boundary", GOOD, form=b"Content-Type: multipart/form-data"),
    Case("empty boundary", GOOD, form=b"Content-Type: multipart/form-data; boundary="),
    Case("boundary of 71", GOOD, form=b"Content-Type: multipart/form-data; boundary=" + b"X" * 71),
    Case("boundary of 4 KB", GOOD, form=b"Content-Type: multipart/form-data; boundary=" + b"X" * 4096),
    Case("another boundary", GOOD, form=b"Content-Type: multipart/form-data; boundary=YY"),
    Case("boundary*=", GOOD, form=b"Content-Type: multipart/form-data; boundary*=UTF-8''XX"),
    Case("form of another site's page", GOOD, code=INVALID, more=(b"Origin: https://evil.example",)),
    Case("form of a page without a name", GOOD, code=INVALID, more=(b"Origin: null",)),
    Case("empty body", b""),
    Case("last boundary alone", END, code=INVALID),
    Case("text before the first boundary", b"hello\r\n" + GOOD),
    Case("no last boundary", FILE + PURPOSE),
    Case("last boundary cut short", FILE + PURPOSE + b"--XX"),
    Case("cut inside a header", FILE + b"--XX\r\nContent-Dispo"),
    Case("cut inside the picture", FILE[:-30]),
    Case("bare line feeds", GOOD.replace(b"\r\n", b"\n")),
    Case("no file", PURPOSE + END, code=INVALID),
    Case("no purpose", FILE + END, code=INVALID),
    Case("a purpose we do not have", FILE + named(b"purpose", b"fine-tune") + END, code=INVALID),
    Case("a purpose with NUL", FILE + named(b"purpose", b"vision\0") + END, code=INVALID),
    Case("a purpose that is not UTF-8", FILE + named(b"purpose", b"\xff\xfe") + END, code=INVALID),
    Case("purpose twice", FILE + PURPOSE + PURPOSE + END),
    Case("purpose as a file", FILE + part(b'Content-Disposition: form-data; name="purpose"; filename="a"') + END),
    Case("a purpose of 2 KB", FILE + named(b"purpose", b"v" * 2048) + END),
    Case("two files", FILE + FILE + PURPOSE + END),
    Case("file without a name", named(b"file", PICTURE) + PURPOSE + END),
    Case("file with an empty name", file_named(b"") + PURPOSE + END),
    Case("file name .", file_named(b".") + PURPOSE + END),
    Case("file name ..", file_named(b"..") + PURPOSE + END),
    Case("file name ending in a slash", file_named(b"../../etc/") + PURPOSE + END),
    Case("file name with NUL", file_named(b"a.png\0.exe") + PURPOSE + END),
    Case("file name with an escape sequence", file_named(b"\x1b[2J") + PURPOSE + END),
    Case("file name that turns the direction of writing", file_named("a\u202egnp.exe".encode()) + PURPOSE + END),
    Case("file name that is not UTF-8", file_named(b"\xff\xfe.png") + PURPOSE + END),
    Case("file name of 300 bytes", file_named(b"a" * 300) + PURPOSE + END),
    Case("file name of 4 KB", file_named(b"a" * 4096) + PURPOSE + END),
    Case("field that is unknown", FILE + PURPOSE + named(b"tenant", b"bob") + END, code="field_not_allowed"),
    Case("field without a name", FILE + part(b"Content-Disposition: form-data") + END),
    Case("field of an empty name", FILE + named(b"", b"x") + END, code="field_not_allowed"),
    Case("attachment", part(b'Content-Disposition: attachment; name="file"; filename="a"') + PURPOSE + END),
    Case("part without headers", b"--XX\r\n\r\nx\r\n" + END),
    Case("part with a disposition twice", part(DISPOSITION, DISPOSITION) + PURPOSE + END),
    Case("header line of 3 KB", part(DISPOSITION, b"X-A: " + b"a" * 3000) + PURPOSE + END),
    Case("header line of 40 KB", part(DISPOSITION, b"X-A: " + b"a" * 40_000) + PURPOSE + END),
    Case("header name of 3 KB", part(DISPOSITION, b"X" * 3000 + b": a") + PURPOSE + END),
    Case("nine headers", part(DISPOSITION, *(b"X-%d: a" % n for n in range(8))) + PURPOSE + END),
    Case("header without a colon", part(DISPOSITION, b"nonsense") + PURPOSE + END),
    Case("header without a name", part(DISPOSITION, b": a") + PURPOSE + END),
    Case("header with a lone carriage return", part(DISPOSITION, b"X-A: b\rX-B: c") + PURPOSE + END),
    Case("parts inside a part", part(DISPOSITION, b"Content-Type: multipart/mixed; boundary=YY") + PURPOSE + END),
    Case("base64", part(DISPOSITION, b"Content-Transfer-Encoding: base64") + PURPOSE + END),
    Case("nine parts", FILE + named(b"purpose", b"vision") * 8 + END),
    Case("ten thousand parts", b"".join(b"--XX\r\n\r\n\r\n" for _ in range(10_000)) + END),
    Case("ttl without an anchor", FILE + PURPOSE + named(b"expires_after[seconds]", b"3600") + END, code=INVALID),
    Case("no picture", holding(b"<svg/>"), 415, UNSUPPORTED),
    Case("page with a picture's name", holding(b"<script>alert(1)</script>"), 415, UNSUPPORTED),
    Case("empty picture", holding(b""), 415, UNSUPPORTED),
    Case("half a picture", holding(PICTURE[:70]), 400, "invalid_image"),
    Case("a picture of 1.1 Mpx", holding(picture(size=(1100, 1000))), 413, "image_too_large"),
    Case("one byte too many", holding(PICTURE.ljust(MAX_BYTES + 1, b"\0")), 413, "file_too_large"),
    Case("a length of 1 TB", GOOD, 413, "file_too_large", length=10**12),
    Case("64 KB behind the end", GOOD + b"x" * (MAX_BYTES + 64 * 1024), 413, "file_too_large"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module", name="scene")
def make_scene(folder: Path) -> Iterator[Scene]:
    with scene(files={"path": folder}, images={"max_bytes": MAX_BYTES, "max_pixels": 10**6}) as made:
        made.check_answers()
        yield made
        made.check_answers()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_upload_that_is_none_is_refused_and_leaves_nothing(case: Case, scene: Scene, folder: Path) -> None:
    reply = talk(scene.address, [case.raw])
    assert reply.status == case.status, reply.raw[:500]
    check_error(reply.body, case.code)
    check_empty(scene, folder)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a length beyond the body", Case("", GOOD, length=len(GOOD) + 9).raw),
        ("half of a body", Case("", GOOD, length=len(GOOD)).raw[:-90]),
        ("nothing of a body", Case("", b"", length=len(GOOD)).raw),
    ],
)
def test_a_body_that_never_ends_leaves_nothing_once_its_caller_is_gone(
    name: str, raw: bytes, scene: Scene, folder: Path
) -> None:
    reply = talk(scene.address, [raw], wait_s=0.3)
    assert reply.status == 0
    wait_until(lambda: not list(folder.glob("incoming/*/*.part")), "a part is still there")
    check_empty(scene, folder)


@pytest.mark.parametrize("seconds", [b"0", b"-1", b"1e9", b"99999999999999999999", b"NaN", b"3600 ", b"3600\0"])
def test_nonsensical_lifetimes_are_refused(seconds: bytes, scene: Scene, folder: Path) -> None:
    body = FILE + PURPOSE + named(b"expires_after[anchor]", b"created_at")
    reply = talk(scene.address, [Case("", body + named(b"expires_after[seconds]", seconds) + END).raw])
    assert reply.status == 400
    check_error(reply.body, "invalid_request")
    check_empty(scene, folder)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/file-",
        "/v1/files/file-" + "0" * 44,
        "/v1/files/file-" + "0" * 44 + "%00",
        "/v1/files/file-" + "0" * 43 + "%0a",
        "/v1/files/..%2f..%2fetc%2fpasswd",
        "/v1/files/%2e%2e",
        "/v1/files/' OR 1=1 --",
        "/v1/files/" + "a" * 2000,
        "/v1/files/file-1/content/",
        "/v1/files/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_ids_that_are_none_are_not_found(method: str, path: str, scene: Scene) -> None:
    answer = scene.http.request(method, path)
    assert answer.status_code in (404, 405), answer.text
    assert answer.json()["error"]["code"] in ("file_not_found", "not_found", "method_not_allowed")


@pytest.mark.parametrize("query", ["limit=1e3", "limit=-1", "limit=%00", "limit=" + "9" * 99, "order='", "after='"])
def test_listings_that_make_no_sense_are_refused(query: str, scene: Scene) -> None:
    assert scene.http.get(f"/v1/files?{query}").status_code in (400, 404)


def test_a_good_upload_is_taken_in_one_byte_pieces_and_its_name_is_only_a_name(scene: Scene, folder: Path) -> None:
    raw = Case("", file_named(b"../../../tmp/evil.png") + PURPOSE + END).raw
    reply = talk(scene.address, [raw[n : n + 1] for n in range(len(raw))])
    assert reply.status == 200
    file = scene.http.get("/v1/files").json()["data"][0]
    assert file["filename"] == "evil.png"
    assert [path.name for path in folder.rglob("*") if "evil" in path.name] == []
    assert scene.http.delete(f"/v1/files/{file['id']}").status_code == 200
    check_empty(scene, folder)


def check_empty(scene: Scene, folder: Path) -> None:
    assert list(folder.glob("incoming/*/*.part")) == []
    assert list(folder.glob("blobs/*/*")) == []
    assert scene.http.get("/v1/files").json()["data"] == []
