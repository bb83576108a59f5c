"""Parses a body around its pictures: long base64 is decoded where it lies, and only the rest is read as JSON.

A picture's base64 costs most of a body's parsing, copying and serialising, and says nothing to a parser. So each
long run of it is cut out, a mark takes its place, and what is left, some hundred bytes, is parsed. That this is the
same as parsing the whole needs three things, each of which sends the body the ordinary way where it does not hold:

1. A run begins right after `;base64,`, or after the quote that opens the value of `data`, ends before a quote, and
   holds nothing outside base64's alphabet (it was decoded strictly). In valid JSON such text is the end of one
   string: no quote, no escape and no half of a character is in it or is cut by its ends. Another word in its place
   leaves every other token as it is; and where the whole is not valid JSON, the rest is not either.
2. Every mark turns up at the end of one image's URL, once. Were it in a text, in a key, or in a value that a later
   one of the same name replaces, one would be missing. No caller can write a mark: it is random, and younger than
   the body.
3. The rest is accepted. What is refused is parsed as it came, so that the answer is about what was sent.

A run must be what we would encode its bytes to: then it can be forwarded as it is.
"""

from collections.abc import Callable
from dataclasses import replace
from sys import maxsize

import pybase64

from server.domain import ImageSource, InlineImage, ParsedRequest, Raw
from server.errors import GatewayError
from server.marks import MARK_CHARS, make_mark, make_nonce

Parse = Callable[[Raw], ParsedRequest]

URL, FIELD = b";base64,", b'"data":'
# What stands before a run; where `data` is no string, neither does.
BEFORE = b',"'
# Less is parsed as fast as it is cut out.
LEAST_CHARS = 4096
# Bounds the search: a run is looked for so far behind the one before, so many times.
REACH_BYTES = 256 * 1024
MOST_LOOKS = 64


def parse_around_pictures(parse: Parse, raw: Raw, least_chars: int = LEAST_CHARS) -> ParsedRequest:
    """What `parse` makes of `raw`, or raises; images that were cut out are `inline` in their sources."""
    return parse_pictures_apart(parse, raw, least_chars) or parse(raw)


def parse_pictures_apart(
    parse: Parse, raw: Raw, least_chars: int = LEAST_CHARS, most_rest: int = maxsize
) -> ParsedRequest | None:
    """The same where pictures can be cut out, and at most `most_rest` bytes are left to parse; None elsewhere."""
    if len(raw) < least_chars or find_run(raw, 0) < 0:
        return None
    nonce = make_nonce()
    rest, runs = cut(raw, nonce, least_chars)
    if not runs or len(rest) > most_rest:
        return None
    request = parse_rest(parse, rest, nonce)
    return request if request is not None and claim(request.images, runs, nonce) else None


def parse_rest(parse: Parse, rest: Raw, nonce: str) -> ParsedRequest | None:
    try:
        return replace(parse(rest), nonce=nonce)
    except GatewayError:
        return None


def cut(raw: Raw, nonce: str, least_chars: int) -> tuple[Raw, list[InlineImage]]:
    """The body with marks in place of its runs of `least_chars` or more; these runs in order, as views of `raw`."""
    view = memoryview(raw)
    pieces: list[bytes | memoryview] = []
    runs: list[InlineImage] = []
    kept_from = at = 0
    for _ in range(MOST_LOOKS):
        start = find_run(raw, at)
        end = raw.find(b'"', start) if start >= 0 else -1
        if end < 0:
            break
        at = end
        run = read_run(view[start:end]) if end - start >= least_chars and raw[start - 1] in BEFORE else None
        if run is not None:
            pieces += (view[kept_from:start], make_mark(nonce, len(runs)).encode())
            runs.append(run)
            kept_from = end
    return b"".join((*pieces, view[kept_from:])) if runs else raw, runs


def find_run(raw: Raw, at: int) -> int:
    """Where the next run may begin, -1 where none is near."""
    url = raw.find(URL, at, at + REACH_BYTES)
    field = raw.find(FIELD, at, url if url >= 0 else at + REACH_BYTES)
    if field < 0:
        return url + len(URL) if url >= 0 else -1
    value = field + len(FIELD)
    if raw[value : value + 1] == b" ":
        value += 1
    return value + 1 if raw[value : value + 1] == b'"' else value  # which is no run: see BEFORE


def read_run(text: memoryview) -> InlineImage | None:
    """None for what is not base64, or not as we would write it."""
    try:
        data = pybase64.b64decode(text, validate=True)
    except ValueError:
        return None
    # Only the last group has bits to spare.
    tail = data[len(data) - (len(data) % 3 or 3) :]
    return InlineImage(text, data) if pybase64.b64encode(tail) == text[-4:] else None


def claim(images: tuple[ImageSource, ...], runs: list[InlineImage], nonce: str) -> bool:
    """Hand every run to the one image whose URL ends with its mark; False if that does not come out even."""
    missing = {make_mark(nonce, number): run for number, run in enumerate(runs)}
    for source in images:
        if nonce not in source.url:
            continue
        head, mark = source.url[:-MARK_CHARS], source.url[-MARK_CHARS:]
        if mark not in missing or not is_head(head):
            return False
        source.url, source.inline = head, missing.pop(mark)
    return not missing


def is_head(head: str) -> bool:
    """Whether this is all of a data URL that stands before its base64."""
    return head[:5].lower() == "data:" and head.lower().endswith(";base64,") and head.count(",") == 1
