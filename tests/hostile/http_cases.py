"""Requests that are none, with what each is answered."""

from dataclasses import dataclass

from tests.hostile.raw import BODY, CLOSE, LENGTH, head
from tests.hostile.scene import CHAT

MAX_HEAD = 8 * 1024
MAX_BODY = 1024**2
MODELS = b"GET /v1/models HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"
WHOLE = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def bare(line: bytes) -> bytes:
    return head(CLOSE, start=line + b" HTTP/1.1")


def typed(media_type: bytes) -> bytes:
    return head(b"Content-Type: " + media_type, LENGTH, CLOSE) + BODY


@dataclass(frozen=True)
class Case:
    name: str
    raw: bytes
    status: int = 400
    code: str = "invalid_http"


AMBIGUOUS = [
    Case("content-length and transfer-encoding", head(LENGTH, CHUNKED) + WHOLE),
    Case("transfer-encoding and content-length", head(CHUNKED, LENGTH) + WHOLE),
    Case("content-length twice, the same", head(LENGTH, LENGTH) + BODY),
    Case("content-length twice, different", head(LENGTH, b"Content-Length: 3") + BODY),
    Case("content-length as a list", head(b"Content-Length: 63, 63") + BODY),
    Case("content-length with a sign", head(b"Content-Length: +63") + BODY),
    Case("content-length below zero", head(b"Content-Length: -1") + BODY),
    Case("content-length in hex", head(b"Content-Length: 0x3f") + BODY),
    Case("content-length of 23 digits", head(b"Content-Length: 99999999999999999999999") + BODY),
    Case("content-length that is empty", head(b"Content-Length: ") + BODY),
    Case("content-length in Arabic digits", head("Content-Length: ٦٣".encode()) + BODY),
    Case("transfer-encoding that is unknown", head(b"Transfer-Encoding: xchunked") + WHOLE),
    Case("transfer-encoding gzip, chunked", head(b"Transfer-Encoding: gzip, chunked") + WHOLE),
    Case("transfer-encoding chunked, chunked", head(b"Transfer-Encoding: chunked, chunked") + WHOLE),
    Case("transfer-encoding identity, then chunked", head(b"Transfer-Encoding: identity", CHUNKED) + WHOLE),
    Case("transfer-encoding twice", head(CHUNKED, CHUNKED) + WHOLE),
    Case("transfer-encoding with a space before the colon", head(b"Transfer-Encoding : chunked") + WHOLE),
    Case("transfer-encoding with a vertical tab", head(b"Transfer-Encoding: \x0bchunked") + WHOLE),
    Case("transfer-encoding in quotes", head(b'Transfer-Encoding: "chunked"') + WHOLE),
    Case("transfer-encoding under HTTP/1.0", head(CHUNKED, start=b"POST " + CHAT.encode() + b" HTTP/1.0") + WHOLE),
    Case("chunk size that is no number", head(CHUNKED) + b"zz\r\n" + BODY),
    Case("chunk size below zero", head(CHUNKED) + b"-1\r\n" + BODY),
    Case("chunk size of 18 digits", head(CHUNKED) + b"f" * 18 + b"\r\n" + BODY),
    Case("chunk size with 0x", head(CHUNKED) + b"0x3f\r\n" + BODY + b"\r\n0\r\n\r\n"),
    Case("chunk size after a space", head(CHUNKED) + b" 3f\r\n" + BODY + b"\r\n0\r\n\r\n"),
    Case("chunk longer than its size", head(CHUNKED) + b"3\r\n" + BODY + b"\r\n0\r\n\r\n"),
    Case("chunks ended by bare line feeds", head(CHUNKED) + WHOLE.replace(b"\r\n", b"\n")),
    Case("header folded over two lines", head(b"X-A: b\r\n c", LENGTH) + BODY),
    Case("header with NUL", head(b"X-A: b\0c", LENGTH) + BODY),
    Case("header with a lone carriage return", head(b"X-A: b\rX-B: c", LENGTH) + BODY),
    Case("header with a control character in its name", head(b"X\x01A: b", LENGTH) + BODY),
    Case("header with a space in its name", head(b"X A: b", LENGTH) + BODY),
    Case("header without a name", head(b": b", LENGTH) + BODY),
    Case("header without a colon", head(b"nonsense", LENGTH) + BODY),
    Case("lines ended by bare line feeds", head(LENGTH).replace(b"\r\n", b"\n") + BODY),
    Case("no host", b"POST /v1/chat/completions HTTP/1.1\r\n" + LENGTH + b"\r\n\r\n" + BODY),
    Case("two hosts", head(b"Host: a", b"Host: b", LENGTH) + BODY),
    Case(
        "target of another host",
        head(LENGTH, start=b"POST http://evil.example/v1/chat/completions HTTP/1.1") + BODY,
    ),
    Case("target that is a host alone", head(start=b"GET http://evil.example HTTP/1.1")),
    Case("target with a raw space", head(start=b"GET /v1/mo dels HTTP/1.1")),
    Case("target that is not ASCII", head(start=b"GET /v1/\xff\xfe HTTP/1.1")),
    Case("CONNECT to elsewhere", head(start=b"CONNECT evil.example:443 HTTP/1.1")),
    Case("HTTP/0.9", b"GET /v1/models\r\n\r\n"),
    Case("HTTP/1.2", head(start=b"GET /v1/models HTTP/1.2")),
    Case("HTTP/2.0 in words", head(start=b"GET /v1/models HTTP/2.0")),
    Case("HTTP/2's own beginning", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Case("TLS to a port that speaks none", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50),
    Case("method in small letters", head(LENGTH, start=b"post /v1/chat/completions HTTP/1.1") + BODY),
    Case("method nobody knows", head(LENGTH, start=b"BREW /v1/chat/completions HTTP/1.1") + BODY),
    Case("upgrade to HTTP/2", head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", LENGTH) + BODY),
    Case(
        "upgrade to a websocket",
        head(b"Connection: upgrade", b"Upgrade: websocket", start=MODELS),
    ),
]
TOO_LARGE = [
    Case("one header of 5 MB", head(b"X-A: " + b"a" * 5_000_000, LENGTH), 431, "head_too_large"),
    Case("ten thousand headers", head(*(b"X-%d: y" % i for i in range(10_000)), LENGTH), 431, "head_too_large"),
    Case("129 headers", head(*(b"X-%d: y" % i for i in range(127)), LENGTH), 431, "head_too_large"),
    Case("a path of 1 MB", head(start=b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1"), 431, "head_too_large"),
    Case("a header name of 9 KB", head(b"X" * 9000 + b": a", LENGTH), 431, "head_too_large"),
    Case("a head one byte over", head(b"X-A: " + b"a" * MAX_HEAD, LENGTH)[: MAX_HEAD + 1], 431, "head_too_large"),
    Case("a length of 1 TB", head(b"Content-Length: 1000000000000"), 413, "body_too_large"),
    Case("a length one byte over", head(b"Content-Length: 1048577"), 413, "body_too_large"),
    Case("a chunk of 8 EB", head(CHUNKED) + b"7fffffffffffffff\r\n" + b"a" * 1_100_000, 413, "body_too_large"),
]
OTHER = [
    Case("TRACE", bare(b"TRACE /v1/models"), 405, "method_not_allowed"),
    Case("DELETE of a model", bare(b"DELETE /v1/models/demo"), 405, "method_not_allowed"),
    Case("GET of a completion", bare(b"GET /v1/chat/completions"), 405, "method_not_allowed"),
    Case("preflight of a browser", bare(b"OPTIONS /v1/completions"), 405, "method_not_allowed"),
    Case("OPTIONS *", bare(b"OPTIONS *"), 404, "not_found"),
    Case("dots up to metrics", bare(b"GET /v1/models/../../metrics"), 404, "model_not_found"),
    Case("dots up, encoded", bare(b"GET /v1/models/%2e%2e%2fmetrics"), 404, "model_not_found"),
    Case("a line break in the path", bare(b"GET /v1/models/%0d%0aa:b"), 404, "not_found"),
    Case("NUL in the path", bare(b"GET /v1/models/%00"), 404, "model_not_found"),
    Case("a slash behind the path", bare(b"POST /v1/chat/completions/"), 404, "not_found"),
    Case("two slashes", bare(b"POST //v1/chat/completions"), 404, "not_found"),
    Case("path in capitals", bare(b"POST /V1/CHAT/COMPLETIONS"), 404, "not_found"),
    Case("form of a web page", typed(b"text/plain"), 415, "unsupported_media_type"),
    Case("form of a web page, posted", typed(b"application/x-www-form-urlencoded"), 415, "unsupported_media_type"),
    Case("type that only looks right", typed(b"application/jsonp"), 415, "unsupported_media_type"),
    Case("type that is empty", typed(b""), 415, "unsupported_media_type"),
    Case("two types", typed(b"text/plain, application/json"), 415, "unsupported_media_type"),
    Case("compressed body", head(b"Content-Encoding: gzip", LENGTH, CLOSE) + BODY, 415, "unsupported_media_type"),
    Case("no body", head(CLOSE), 400, "invalid_json"),
    Case("length zero", head(b"Content-Length: 0", CLOSE), 400, "invalid_json"),
]
# Of vLLM's own surface nothing else can be reached.
PATHS = """
    /invocations /tokenize_ /pooling /score /rerank /v1/embeddings /v1/audio/transcriptions /load
    /version /ping /server_info /reset_prefix_cache /reset_mm_cache /sleep /wake_up /collective_rpc
    /v1/load_lora_adapter /start_profile /docs /openapi.json /generate /update_weights /is_sleeping
    /scale_elastic_ep /inference/v1/generate /v1/chat/completions/render /abort_requests
""".split()
