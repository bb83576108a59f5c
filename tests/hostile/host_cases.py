"""What a hostile host of pictures answers, and what a caller who named it is told."""

import gzip
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.pictures import picture

PICTURE = picture()
MAX_BYTES = 100_000
FAILED, REFUSED, TOO_LARGE = "image_fetch_failed", "image_url_refused", "image_too_large"
UNSUPPORTED = "unsupported_image_format"
STATUS = {FAILED: 400, REFUSED: 400, TOO_LARGE: 413, UNSUPPORTED: 415, "invalid_image": 400}

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS_302 = b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.2:{trap}/\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """`script` is what the path sends, or makes one of the host's port."""

    name: str
    script: Any
    code: str = FAILED


def ok(*headers: bytes, body: bytes = PICTURE, length: bool = True) -> list[bytes]:
    told = [b"Content-Length: %d" % len(body)] if length else []
    return [b"\r\n".join([b"HTTP/1.1 200 OK", *told, *headers]) + b"\r\n\r\n", body]


def line(start: bytes, body: bytes = b"") -> list[bytes]:
    return [start + b"\r\nContent-Length: %d\r\n\r\n" % len(body), body]


def to(location: bytes, status: bytes = b"302 Found") -> list[bytes]:
    return [b"HTTP/1.1 " + status + b"\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"]


def to_port(location: bytes) -> Any:
    """A redirect whose location may hold the host's own port."""
    return lambda port: to(location.replace(b"{port}", b"%d" % port))


def chunked(chunks: Iterable[bytes]) -> Iterable[bytes]:
    yield CHUNKED
    for chunk in chunks:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)


def dribble(first: bytes, piece: bytes, pause_s: float = 0.1) -> Any:
    """Made anew for each request: what is sent has no end."""

    def script(_: int) -> Iterable[bytes | float]:
        yield first
        for _ in range(600):
            yield piece
            yield pause_s

    return script


REDIRECTS = [
    Case("to a private address", to(b"https://127.0.0.2:{trap}/"), REFUSED),
    Case("to a private name", to(b"https://inside.example:{trap}/"), REFUSED),
    Case("to a private name in capitals", to(b"https://INSIDE.example.:{trap}/"), REFUSED),
    Case("to IPv6 loopback", to(b"https://[::1]:{trap}/"), REFUSED),
    Case("to metadata", to(b"https://169.254.169.254/latest/meta-data/"), REFUSED),
    Case("to metadata by name", to(b"https://metadata.google.internal/"), REFUSED),
    Case("to a number", to(b"https://2130706434:{trap}/"), REFUSED),
    Case("to the same address without TLS", to_port(b"http://pictures.example:{port}/picture"), REFUSED),
    Case("to a private address without TLS", to(b"http://127.0.0.2:{trap}/"), REFUSED),
    Case("to no scheme, private", to(b"//inside.example:{trap}/"), REFUSED),
    Case("to a file", to(b"file:///etc/passwd"), REFUSED),
    Case("to a data URL", to(b"data:image/png;base64,iVBORw0KGgo="), REFUSED),
    Case("to ftp", to(b"ftp://127.0.0.2:{trap}/"), REFUSED),
    Case("to gopher", to(b"gopher://127.0.0.2:{trap}/_x"), REFUSED),
    Case("to javascript", to(b"javascript:alert(1)"), REFUSED),
    Case("to a websocket", to(b"wss://127.0.0.2:{trap}/"), REFUSED),
    Case("to a uploaded file's id", to(b"file-0123456789abcdef")),
    Case("to credentials", to_port(b"https://user:pass@pictures.example:{port}/picture"), REFUSED),
    Case("to credentials that look like a host", to(b"https://pictures.example@127.0.0.2:{trap}/"), REFUSED),
    Case("to a denied domain", to(b"https://denied.example/"), REFUSED),
    Case("to a denied domain after a hop", to_port(b"/to-denied"), REFUSED),
    Case("to a private address after two hops", to_port(b"/hop-1"), REFUSED),
    Case("to itself", to(b"/to-itself")),
    Case("to itself by nothing", to(b"")),
    Case("to itself by a fragment", to(b"#a")),
    Case("ten hops", to(b"/chain-9")),
    Case("to port 65536", to(b"https://pictures.example:65536/"), REFUSED),
    Case("to port 0", to(b"https://pictures.example:0/")),
    Case("to a backslash", to(b"\\\\inside.example:{trap}\\")),
    Case("to a slash and a backslash", to(b"/\\inside.example:{trap}/")),
    Case("to a control character", to(b"https://inside\x01.example:{trap}/"), REFUSED),
    Case("to NUL", to(b"https://inside.example\x00:{trap}/")),
    Case("to an encoded line break", to(b"/%0d%0aSet-Cookie:%20a=b")),
    Case("to a tab", to(b"https://in\tside.example:{trap}/"), REFUSED),
    Case("to 10,000 letters", to(b"https://pictures.example/" + b"a" * 10_000)),
    Case("to 8,180 letters", to(b"/" + b"a" * 8180)),
    Case("to bytes that are no text", to(b"https://\xff\xfe.example:{trap}/"), REFUSED),
    Case(
        "to two places",
        [b"HTTP/1.1 302 Found\r\nLocation: /nowhere\r\nLocation: https://127.0.0.2:{trap}/\r\n\r\n"],
    ),
    Case("to nowhere", line(b"HTTP/1.1 302 Found")),
    Case("by 300", to(b"https://127.0.0.2:{trap}/", b"300 Multiple Choices")),
    Case("by 305", to(b"https://127.0.0.2:{trap}/", b"305 Use Proxy")),
    Case("by Refresh", ok(b"Refresh: 0; url=https://127.0.0.2:{trap}/", body=b"<html>"), UNSUPPORTED),
    Case("by 303 to private", to(b"https://127.0.0.2:{trap}/", b"303 See Other"), REFUSED),
    Case("by 307 to private", to(b"https://127.0.0.2:{trap}/", b"307 Temporary Redirect"), REFUSED),
    Case("by 308 to private", to(b"https://127.0.0.2:{trap}/", b"308 Permanent Redirect"), REFUSED),
    Case("with an endless body behind", dribble(ENDLESS_302, b"a" * 1000), REFUSED),
]
HELPERS = {
    "picture": ok(),
    "to-denied": to(b"https://a.denied.example/"),
    "hop-1": to(b"/hop-2"),
    "hop-2": to(b"https://inside.example:{trap}/"),
    "to-itself": to(b"/to-itself"),
    **{f"chain-{n}": to(b"/chain-%d" % (n - 1)) for n in range(1, 10)},
    "chain-0": ok(),
}
ANSWERS = [
    Case("status 204", line(b"HTTP/1.1 204 No Content")),
    Case("status 206", line(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/100", PICTURE)),
    Case("status 304 unasked", line(b"HTTP/1.1 304 Not Modified")),
    Case("status 401 with a challenge", line(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"a\"", PICTURE)),
    Case("status 407 with a challenge", line(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic", PICTURE)),
    Case("status 404 with a picture", line(b"HTTP/1.1 404 No", PICTURE)),
    Case("status 500", line(b"HTTP/1.1 500 No", PICTURE)),
    Case("status 099", line(b"HTTP/1.1 099 No", PICTURE)),
    Case("status 1000", line(b"HTTP/1.1 1000 No", PICTURE)),
    Case("status of letters", line(b"HTTP/1.1 OK", PICTURE)),
    Case("status -200", line(b"HTTP/1.1 -200 OK", PICTURE)),
    Case("no status line: HTTP/0.9", [PICTURE]),
    Case("another protocol", [b"SSH-2.0-OpenSSH_9.2\r\n"]),
    Case("HTTP/9.9", line(b"HTTP/9.9 200 OK", PICTURE)),
    Case("nothing at all", []),
    Case("half a status line", [b"HTTP/1.1 2"]),
    Case("a status line without end", dribble(b"HTTP/1.1 200 ", b"O" * 5000, 0.01)),
    Case("headers without end", dribble(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 100, 0.01)),
    Case("headers, one at a time", dribble(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")),
    Case("a header of 1 MB", ok(b"X-A: " + b"a" * 1_000_000)),
    Case("ten thousand headers", ok(*(b"X-%d: a" % n for n in range(10_000)))),
    Case("hints without end", dribble(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.01)),
    Case("100 Continue without end", dribble(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)),
    Case("101 to another protocol", line(b"HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade", PICTURE)),
    Case("a header with NUL", ok(b"X-A: \x00")),
    Case("a header with a lone carriage return", ok(b"X-A: a\rSet-Cookie: b")),
    Case("a length and chunks", ok(b"Transfer-Encoding: chunked")),
    Case("two lengths", ok(b"Content-Length: 5")),
    Case("a length below zero", ok(b"Content-Length: -5", length=False)),
    Case("a length of letters", ok(b"Content-Length: many", length=False)),
    Case("a length of 1 PB", ok(b"Content-Length: 1000000000000000", length=False), TOO_LARGE),
    Case("a length one byte over", ok(b"Content-Length: 100001", length=False), TOO_LARGE),
    Case("a length of 40 digits", ok(b"Content-Length: " + b"9" * 40, length=False)),
    Case("less than its length", ok(b"Content-Length: 99999", length=False)),
    Case("a body without end", dribble(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 10_000, 0), TOO_LARGE),
    Case("chunks without end", lambda _: chunked(itertools.repeat(b"a" * 10_000, 600)), TOO_LARGE),
    Case("chunks cut off", lambda _: chunked([PICTURE])),
    Case("a chunk of 16 EB", [CHUNKED, b"f" * 16 + b"\r\n"]),
    Case("chunk extensions without end", dribble(CHUNKED + b"1;", b"a" * 9000, 0)),
    Case("chunks of one byte, slowly", dribble(CHUNKED, b"1\r\na\r\n")),
    Case("a body, byte by byte", dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"a")),
    Case("a length, and silence", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", 3.0]),
    Case("silence", [4.0]),
    Case("gzip", ok(b"Content-Encoding: gzip", body=gzip.compress(PICTURE))),
    Case("a gzip bomb", ok(b"Content-Encoding: gzip", body=gzip.compress(bytes(50_000_000)))),
    Case("brotli", ok(b"Content-Encoding: br")),
    Case("zstd", ok(b"Content-Encoding: zstd")),
    Case("an unknown coding", ok(b"Content-Encoding: secret")),
    Case("two codings", ok(b"Content-Encoding: identity, gzip")),
    Case("gzip for a transfer coding", ok(b"Transfer-Encoding: gzip, chunked", length=False)),
    Case("a web page", ok(b"Content-Type: image/png", body=b"<!doctype html><img src=x>"), UNSUPPORTED),
    Case("JSON", ok(body=b'{"secret": "of another service"}'), UNSUPPORTED),
    Case("an empty body", ok(body=b""), UNSUPPORTED),
    Case("a script", ok(body=b"#!/bin/sh\nrm -rf /\n"), UNSUPPORTED),
]  # fmt: skip
