"""Reads one engine's responses, one after another, out of the bytes of a connection (`connection.py`).

Stricter than most clients: whatever two readers could take for different things is refused.
"""

import httptools

# Of a head, of trailers, and of whatever else comes without a byte of the body in it.
MOST_HEAD_BYTES = 32 * 1024
MOST_HEADERS = 100
VERSIONS = frozenset({"1.0", "1.1"})
NO_BODY = frozenset({204, 304})
IMAGE_CACHE = b"x-fovea-image-cache"


class Response:
    """`pieces` of the body are taken out by whoever reads them; `fault` says why nothing of it is to be believed.

    It is `complete` only when all of it has come, and the connection `reusable` only when nothing else has.
    """

    __slots__ = (
        "_begun",
        "_coding",
        "_head_bytes",
        "_headers",
        "_interim",
        "_keep_alive",
        "_lengths",
        "_other_bytes",
        "_parser",
        "_to_the_end",
        "complete",
        "fault",
        "held",
        "image_cache",
        "media_type",
        "pieces",
        "reusable",
        "status",
    )

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.pieces: list[bytes] = []
        self.begin()

    def begin(self) -> None:
        """The next response, of a request that is about to be sent."""
        self.status = 0  # until its head is there
        self.media_type = ""
        self.image_cache = b""
        self.pieces.clear()
        self.held = 0
        self.complete = self.reusable = self._begun = False
        self._interim = self._to_the_end = self._keep_alive = False
        self.fault: str | None = None
        self._other_bytes = 0
        self._begin_head()

    def _begin_head(self) -> None:
        self._head_bytes = self._headers = self._lengths = 0
        self._coding = b""

    def feed(self, data: bytes) -> None:
        """Raises nothing: see `fault`."""
        if self.complete or self._parser is None:
            self.reusable = False  # nobody asked for more
            return
        if self.fault is not None:
            return
        if not self._begun and data[:1] != b"H":
            self.fault = "not HTTP"  # the parser would look for a beginning
            return
        self._begun = True
        self._other_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise  # a bug of ours
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._stop()
        if self._other_bytes > MOST_HEAD_BYTES and not self.complete:
            self._refuse("too large a head")

    def _stop(self) -> None:
        """What has come last cannot be read."""
        if self.complete:
            self.reusable = False
        else:
            self._refuse("not HTTP")

    def end(self) -> bool:
        """The other side has closed, in good order. Whether that is how the response ends."""
        if self._to_the_end and self.fault is None:
            self.complete = True
        return self.complete

    def close(self) -> None:
        """Part from the parser, which would hold this and be held by it."""
        self._parser = None

    # What follows is called by the parser, which goes on to the end of what it was fed, whatever is found.

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False  # something stands behind a whole response

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        self._headers += 1
        self._head_bytes += len(name) + len(value)
        if self._headers > MOST_HEADERS or self._head_bytes > MOST_HEAD_BYTES:
            self._refuse("too large a head")
        if self.status:
            return  # a trailer
        name = name.lower()
        if name == b"content-type":
            self.media_type = value.decode("latin-1")
        elif name == b"content-length":
            self._lengths += 1
        elif name == b"transfer-encoding":
            self._coding += value.lower()
        elif name == b"content-encoding" and value.lower() != b"identity":
            self._refuse("compressed unasked")
        elif name == IMAGE_CACHE:
            self.image_cache = value

    def on_headers_complete(self) -> None:
        parser = self._parser
        if self.complete or parser is None:
            return
        status = parser.get_status_code()
        if status < 100 or status == 101 or status > 599:
            self._refuse("of no status that can be")
        if parser.get_http_version() not in VERSIONS:
            self._refuse("of no version that was asked for")
        if self._coding not in (b"", b"chunked") or self._lengths > 1 or (self._lengths and self._coding):
            self._refuse("of unclear length")
        if status < 200:
            self._interim = True
            self.media_type, self.image_cache = "", b""
            return
        self._keep_alive = parser.should_keep_alive()
        self._to_the_end = not (self._coding or self._lengths or status in NO_BODY)
        self.status = status

    def on_body(self, piece: bytes) -> None:
        if self.complete or self.fault is not None:
            return
        self._other_bytes = 0
        self.held += len(piece)
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self._begin_head()
        elif self.fault is None and not self.complete:
            self.complete = True
            self.reusable = self._keep_alive

    def _refuse(self, fault: str) -> None:
        """Believe nothing of it; the first reason is the one that counts."""
        if self.fault is None:
            self.fault = fault
