"""A body parsed around its pictures is held to the same body parsed whole."""

import base64
import json
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.api.messages.request import parse_messages_request
from server.api.parse import parse_request
from server.api.splice import LEAST_CHARS, MOST_LOOKS, REACH_BYTES, cut, parse_around_pictures
from server.domain import LoadedImage, ParsedRequest
from server.engines.payload import make_payload
from server.errors import GatewayError, ImageError
from server.images.data_url import decode_data_url
from server.marks import make_mark
from tests.pictures import chat, image_part, text_part

T = TypeVar("T")
LEAST = 8
RUN = base64.b64encode(bytes(range(60, 80))).decode()
OTHER_RUN = base64.b64encode(b"another picture").decode()
URL = f"data:image/png;base64,{RUN}"

assert RUN.endswith("8=")
SPARE_BITS = URL.removesuffix("8=") + "9="  # decodes to the same

# Strings that look like pictures, almost look like them, or hold them where none belongs.
TEXTS = st.sampled_from(
    [
        *(URL, RUN, f";base64,{RUN}", f"see data:image/png;base64,{RUN}", f"x data:image/png;base64,{RUN} y"),
        *(f"DATA:image/png;BASE64,{RUN}", f"data:a,b;base64,{RUN}", f"data:image/png;base64,{OTHER_RUN}"),
        *(f"data:image/png;base64,{RUN[:-1]}", f"data:image/png;base64,{RUN}\n", f"data:image/png;base64, {RUN}"),
        *(
            f"data:image/png;base64,{RUN}=",
            SPARE_BITS,
            f"https://a.example/;base64,{RUN}",
        ),
        *(f'{{"data":"{RUN}"}}', f'"data": "{RUN}', '"data":', "\\", "\\u003b", "\u00e9;base64,", "\ud7ff", "\n"),
        *(make_mark("0" * 32, 0), f"data:image/png;base64,{make_mark('0' * 32, 0)}", "0" * 40, "", "three circles"),
    ]
)
PLAIN = st.sampled_from(["", "three circles", "\u00e9\n", "\\", "0" * 40, make_mark("0" * 32, 0)])
DATA = st.sampled_from([RUN, OTHER_RUN, RUN[:-1], f"{RUN}\n", "", 5, None, [RUN], {"data": RUN}])


def bodies(texts: st.SearchStrategy[str], urls: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    image_parts = st.one_of(
        st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": urls})}),
        st.fixed_dictionaries({"type": st.just("image_url"), "image_url": urls}),
    )
    text_parts = st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    content = st.one_of(texts, st.lists(st.one_of(image_parts, image_parts, text_parts), max_size=4))
    message = st.fixed_dictionaries({"role": st.just("user"), "content": content})
    return st.fixed_dictionaries(
        {"model": st.just("demo"), "messages": st.lists(message, min_size=1, max_size=3)},
        optional={
            "user": texts,
            "stop": st.lists(texts, max_size=2),
            "metadata": st.dictionaries(texts, st.one_of(texts, DATA), max_size=2),
            "tools": st.lists(st.fixed_dictionaries({"data": DATA}), max_size=1),
        },
    )


BODIES = st.one_of(
    bodies(TEXTS, TEXTS),
    bodies(PLAIN, st.just(URL)),
    bodies(PLAIN, st.sampled_from([URL, URL.replace(RUN, OTHER_RUN)])),
)
# Pieces that are put into a body's bytes, or in place of some of them.
SHARDS = st.sampled_from(
    [
        *(
            b"",
            b'"',
            b"\\",
            b'\\"',
            b"\\u00",
            b"\xc3",
            b"\xff",
            b"\x00",
            b"\n",
            b" ",
            b",",
            b":",
            b"{",
            b"}",
            b"]",
            b"7",
        ),
        *(f"{URL}".encode(), f'"{URL}"'.encode(), b";base64,", b'"data":"', b'"data": "', b'"data":', RUN.encode()),
        *(f',"user":"{URL}"'.encode(), f'"url":"{URL}",'.encode(), b"=", b"\\/"),
    ]
)


@st.composite
def raw_bodies(draw: st.DrawFn) -> bytes:
    """Written as different clients write JSON; some of them damaged."""
    body = draw(BODIES)
    raw = orjson.dumps(body, option=draw(st.sampled_from([0, orjson.OPT_INDENT_2])))
    if draw(st.booleans()):
        raw = raw.replace(b'":', b'": ')
    if draw(st.integers(0, 9)) == 0:
        raw = raw.replace(b"/", b"\\/")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(SHARDS) + raw[at + draw(st.sampled_from([0, 0, 1, 3, 30])) :]
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.integers(0, 9)) == 0 else raw


def seen(parse: Callable[[bytes], ParsedRequest], raw: bytes) -> Any:
    """All that comes of a body: its error, or the request with every image and what an engine would be sent."""
    try:
        request = parse(raw)
    except GatewayError as problem:
        return type(problem), problem.code, problem.param, problem.message
    images, loaded = [], []
    for source in request.images:
        inline = source.inline
        url = source.url + str(inline.encoded, "ascii") if inline else source.url
        try:
            data = decode_data_url(url, 10**6)
        except ImageError as problem:
            assert inline is None
            return problem.message, source.path
        assert inline is None or inline.data == data
        images.append((source.path, url, source.detail))
        encoded = inline.encoded if inline else base64.b64encode(data)
        loaded.append(LoadedImage("d" * 64, "image/png", 1, 1, encoded))
    payload = b"".join(make_payload(request, loaded)[0])
    return request.route, request.model, request.stream, request.max_tokens, request.text_bytes, images, payload


WHOLE = partial(parse_request, "chat")
AROUND = partial(parse_around_pictures, WHOLE, least_chars=LEAST)


@settings(max_examples=600, deadline=None)
@given(raw_bodies())
@example(orjson.dumps(chat({"type": "image_url", "image_url": URL}, {"type": "image_url", "image_url": URL})))
@example(orjson.dumps(chat(text_part(URL), {"type": "image_url", "image_url": URL})))
@example(orjson.dumps(chat({"type": "image_url", "image_url": SPARE_BITS})))
@example(b'{"model":"demo","messages":[{"role":"user","content":"x"}],"user":"' + URL.encode() + b'","user":"b"}')
@example(b'{"model":"demo","messages":[{"role":"user","content":"x"}],"' + URL.encode() + b'":1}')
@example(b'{"model":"demo","messages":[{"role":"user","content":"x"}],"metadata":{"data":' + b"1" * 400 + b'"')
def test_nothing_tells_whether_a_body_was_parsed_around_its_pictures(raw: bytes) -> None:
    assert seen(AROUND, raw) == seen(WHOLE, raw)


def message_bodies(
    texts: st.SearchStrategy[str], data: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    sources = st.one_of(
        st.fixed_dictionaries({"type": st.just("base64"), "media_type": st.just("image/png"), "data": data}),
        st.fixed_dictionaries({"type": st.just("url"), "url": texts}),
    )
    image = st.fixed_dictionaries({"type": st.just("image"), "source": sources})
    text = st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    parts = st.lists(st.one_of(image, image, text), max_size=3)
    result = st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": texts, "content": parts})
    given_data = st.fixed_dictionaries({"data": data})
    use = st.fixed_dictionaries(
        {"type": st.just("tool_use"), "id": texts, "name": st.just("f"), "input": given_data}
    )
    said = st.lists(st.one_of(text, use), max_size=2)
    asked = st.lists(st.one_of(image, image, result, text), max_size=3)
    turn = st.one_of(
        st.fixed_dictionaries({"role": st.just("user"), "content": asked}),
        st.fixed_dictionaries({"role": st.just("assistant"), "content": said}),
    )
    turns = st.lists(turn, min_size=1, max_size=3)
    return st.fixed_dictionaries({"model": st.just("demo"), "max_tokens": st.just(9), "messages": turns})


@settings(max_examples=300, deadline=None)
@given(st.one_of(message_bodies(PLAIN, st.just(RUN)), message_bodies(TEXTS, DATA)))
def test_a_messages_body_is_the_same_parsed_around_its_pictures(body: dict[str, Any]) -> None:
    raw = orjson.dumps(body)
    around = partial(parse_around_pictures, parse_messages_request, least_chars=LEAST)
    assert seen(around, raw) == seen(parse_messages_request, raw)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(TEXTS, st.just(URL)), max_size=4), TEXTS)
def test_an_input_of_responses_is_the_same_parsed_around_its_pictures(urls: list[str], text: str) -> None:
    parts = [{"type": "input_text", "text": text}, *({"type": "input_image", "image_url": url} for url in urls)]
    raw = orjson.dumps({"model": "demo", "input": [{"role": "user", "content": parts}], "instructions": text})
    whole = partial(parse_request, "responses")
    assert seen(partial(parse_around_pictures, whole, least_chars=LEAST), raw) == seen(whole, raw)


SOURCE = {"type": "base64", "media_type": "image/png", "data": RUN}
ONE_PICTURE: dict[str, tuple[Any, dict[str, Any]]] = {
    "chat": (partial(parse_request, "chat"), {"type": "image_url", "image_url": {"url": URL}}),
    "tokenize": (partial(parse_request, "tokenize"), {"type": "image_url", "image_url": {"url": URL}}),
    "responses": (partial(parse_request, "responses"), {"type": "input_image", "image_url": URL}),
    "messages": (parse_messages_request, {"type": "image", "source": SOURCE}),
}


@pytest.mark.parametrize("surface", ONE_PICTURE)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_every_surfaces_pictures_are_cut_out(surface: str, separators: tuple[str, str]) -> None:
    parse, part = ONE_PICTURE[surface]
    field = "input" if surface == "responses" else "messages"
    more = {"max_tokens": 3} if surface == "messages" else {}
    body = {"model": "demo", field: [{"role": "user", "content": [part]}], **more}
    raw = json.dumps(body, separators=separators).encode()
    (source,) = parse_around_pictures(parse, raw, least_chars=LEAST).images
    assert source.inline is not None
    assert source.inline.encoded == RUN.encode()


def held_at_once(work: Callable[[], T]) -> tuple[int, T]:
    """The most bytes that Python held because of `work`, and what it gave."""
    tracemalloc.start()
    try:
        made = work()
        return tracemalloc.get_traced_memory()[1], made
    finally:
        tracemalloc.stop()


def test_parsing_and_serialising_hold_the_decoded_picture_and_nothing_else_of_its_size() -> None:
    raw = big(3, 500_000)
    held, request = held_at_once(partial(parse_around_pictures, partial(parse_request, "chat"), raw))
    assert held < 1.05 * 3 * 500_000
    loaded = [
        LoadedImage("d" * 64, "image/png", 1, 1, each.inline.encoded) for each in request.images if each.inline
    ]
    held, (payload, _) = held_at_once(partial(make_payload, request, loaded))
    assert held < 20_000 < sum(map(len, payload))


@pytest.mark.parametrize(
    "inside", [b"\n", b"\x00", b"\\n", b"\\u0041", b"\xff", b"\xc3\xa9", b"-", b"=", b'\\"', b"\\/", b" "]
)
def test_what_is_no_base64_inside_a_run_is_met_as_it_is(inside: bytes) -> None:
    raw = orjson.dumps(chat({"type": "image_url", "image_url": URL})).replace(RUN[8:12].encode(), inside)
    assert seen(AROUND, raw) == seen(WHOLE, raw)


@pytest.mark.parametrize("between", [b'"data":', b'"data": ', b'"data":  "', b'"data":\n"', b'"data" :"'])
def test_nothing_but_a_string_is_cut_out_of_data(between: bytes) -> None:
    assert cut(b"{" + between + b"1" * 400 + b'"}', "f" * 32, LEAST)[1] == []


def test_a_mark_that_we_let_slip_never_leaves() -> None:
    def parse(text: bytes) -> ParsedRequest:
        request = parse_request("chat", text)
        request.body["user"] = request.images[0].url
        return request

    request = parse_around_pictures(parse, big())
    assert request.images[0].inline is not None
    with pytest.raises(RuntimeError, match="marks"):
        make_payload(request, [LoadedImage("d" * 64, "image/png", 1, 1, request.images[0].inline.encoded)])


def big(parts: int = 1, size: int = LEAST_CHARS) -> bytes:
    return orjson.dumps(chat(text_part("What?\n"), *(image_part(bytes([n]) * size) for n in range(parts))))


def count_parses(raw: bytes) -> tuple[list[int], ParsedRequest]:
    """The length of each text that was parsed as JSON."""
    parsed: list[int] = []

    def parse(text: bytes) -> ParsedRequest:
        parsed.append(len(text))
        return parse_request("chat", text)

    return parsed, parse_around_pictures(parse, raw)


@pytest.mark.parametrize("parts", [1, 2, 16])
def test_only_what_stands_around_the_pictures_is_parsed(parts: int) -> None:
    raw = big(parts, 100_000)
    parsed, request = count_parses(raw)
    assert len(parsed) == 1
    assert parsed[0] < 200 * (parts + 1) < len(raw)
    assert [source.inline.data for source in request.images if source.inline] == [
        bytes([n]) * 100_000 for n in range(parts)
    ]


def test_a_pictures_base64_is_no_copy_but_a_view_of_the_body() -> None:
    raw = big()
    inline = parse_around_pictures(partial(parse_request, "chat"), raw).images[0].inline
    assert inline is not None
    assert inline.encoded.obj is raw


@pytest.mark.parametrize(
    "url",
    [
        URL.replace(RUN, RUN * 400 + "\n"),  # whitespace, which is tolerated
        URL.replace(RUN, RUN.rstrip("=") * 400 + "B=="),  # bits that say nothing
        URL.replace("data:", "https:"),
        URL.replace("data:image/png", "data:image/png,x"),
        URL.replace(";base64", ";BASE64"),
    ],
)
def test_what_is_not_plainly_a_picture_is_parsed_whole(url: str) -> None:
    raw = orjson.dumps(chat({"type": "image_url", "image_url": {"url": url.replace(RUN, RUN.rstrip("=") * 400)}}))
    parsed, request = count_parses(raw)
    assert parsed[-1] == len(raw)
    assert request.images[0].inline is None


def test_a_mark_that_a_caller_writes_is_text_like_any_other() -> None:
    nonce = "0" * 32
    raw = orjson.dumps(chat(text_part(make_mark(nonce, 0)), image_part(b"x" * LEAST_CHARS)))
    rest, runs = cut(raw, "f" * 32, LEAST_CHARS)
    assert len(runs) == 1
    assert rest.count(make_mark("f" * 32, 0).encode()) == 1
    first, second = (parse_around_pictures(partial(parse_request, "chat"), raw).nonce for _ in range(2))
    assert first != second


def test_a_body_full_of_false_beginnings_is_looked_at_a_bounded_number_of_times() -> None:
    class Counted(bytes):
        looked = 0

        def find(self, *where: Any) -> int:
            start, stop = (*where[1:], len(self))[:2]
            Counted.looked += max(0, min(stop, len(self)) - start) if where[0] != b'"' else 0
            return super().find(*where)

    for unit in (b';base64,"', b'"data":1,', b'"data":"', b';base64,AAAA"' + b" " * 1000):
        Counted.looked = 0
        raw = Counted(unit * 200_000)
        cut(raw, "f" * 32, LEAST)
        assert Counted.looked <= 2 * REACH_BYTES * (MOST_LOOKS + 1)
