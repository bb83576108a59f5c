import struct

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from server.engine.encoder_cache.entry import (
    FIELDS,
    HEADER_BYTES,
    HEADER_SUM_BYTES,
    BadEntry,
    Embedding,
    key_of,
    pack,
    read_header,
    unpack,
)

NAMESPACE = "ab" * 32
KEY = key_of("a picture")


def embedding(**other: object) -> Embedding:
    given: dict[str, object] = {
        "key": KEY,
        "shape": (3, 4),
        "dtype": "bfloat16",
        "encoding": "raw",
        "data": memoryview(bytes(range(24))),
        "created_s": 1_700_000_000.25,
    }
    return Embedding(**{**given, **other})  # type: ignore[arg-type]


def entry(**other: object) -> bytes:
    header, payload = pack(embedding(**other), NAMESPACE)
    return header + payload


def reason_of(raw: bytes, namespace: str = NAMESPACE, key: str = KEY) -> str:
    with pytest.raises(BadEntry) as caught:
        unpack(raw, namespace, key)
    return caught.value.reason


def resummed(raw: bytes) -> bytes:
    """As a writer with a bug, or malice, would make it: the header's sum is right."""
    covered = raw[: HEADER_BYTES - HEADER_SUM_BYTES]
    return covered + blake3(covered).digest(HEADER_SUM_BYTES) + raw[HEADER_BYTES:]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"shape": (24,), "encoding": "fp8-row", "data": memoryview(bytes(28))},
        {"shape": (2, 2, 3), "encoding": "fp8-row", "data": memoryview(bytes(28))},
        {"shape": (1, 2, 1, 3), "dtype": "float32"},
        {"shape": (3, 4), "dtype": "float16"},
    ],
)
def test_what_is_packed_comes_back_as_it_was(other: dict[str, object]) -> None:
    assert unpack(entry(**other), NAMESPACE, KEY) == embedding(**other)


def test_a_header_takes_256_bytes_and_the_payload_is_not_copied() -> None:
    data = bytearray(24)
    header, payload = pack(embedding(data=memoryview(data)), NAMESPACE)
    assert len(header) == HEADER_BYTES == 256
    data[0] = 7
    assert payload[0] == 7


def test_what_is_unpacked_is_a_view_of_what_was_read() -> None:
    raw = bytearray(entry())
    assert unpack(memoryview(raw), NAMESPACE, KEY).data.obj is raw


@given(st.data())
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    raw = bytearray(entry())
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    assert reason_of(bytes(raw)) in {"foreign", "version", "checksum"}


@given(st.integers(0, HEADER_BYTES + 23))
def test_any_truncation_is_found(length: int) -> None:
    assert reason_of(entry()[:length]) == "truncated"


@given(st.binary(min_size=1, max_size=600))
def test_anything_behind_the_end_is_found(more: bytes) -> None:
    assert reason_of(entry() + more) == "truncated"


@given(st.binary(max_size=600))
def test_foreign_bytes_are_never_an_entry(raw: bytes) -> None:
    assert reason_of(raw) in {"foreign", "truncated"}


def test_an_entry_of_another_tower_or_another_picture_is_not_served() -> None:
    assert reason_of(entry(), namespace="cd" * 32) == "namespace"
    assert reason_of(entry(), key=key_of("another picture")) == "key"


def test_the_next_versions_entries_are_told_apart_from_broken_ones() -> None:
    raw = bytearray(entry())
    struct.pack_into("<H", raw, 8, 2)
    assert reason_of(bytes(raw)) == "version"


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (10, b"\x02"),  # encoding
        (11, b"\x00"),  # dimensions
        (11, b"\x05"),
        (11, b"\x01"),  # fewer dimensions than sizes
        (12, b"\xff\xfe"),  # dtype
        (12, b"int8\0\0\0\0"),
        (24, bytes(8)),  # a side of nothing
        (24, b"\xff" * 8),  # more than there is
        (56, b"\xff" * 8),  # payload's length
        (64, struct.pack("<d", float("nan"))),  # created
    ],
)
def test_a_header_that_was_written_wrong_is_refused_though_its_sum_is_right(at: int, written: bytes) -> None:
    raw = bytearray(entry())
    raw[at : at + len(written)] = written
    assert reason_of(resummed(bytes(raw))) == "shape"


def test_the_fields_lie_where_the_format_says() -> None:
    assert FIELDS.size == 168
    header = read_header(entry())
    assert (header.namespace, header.key, header.shape, header.payload_bytes) == (NAMESPACE, KEY, (3, 4), 24)


@pytest.mark.parametrize(
    "other",
    [
        {"shape": ()},
        {"shape": (0, 4)},
        {"shape": (1, 1, 1, 3, 4)},
        {"shape": (3, 5)},
        {"dtype": "int8"},
        {"key": "../../etc/passwd"},
        {"key": KEY.upper()},
        {"key": KEY[:-2]},
    ],
)
def test_what_no_reader_would_take_is_not_packed(other: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        pack(embedding(**other), NAMESPACE)


@given(st.text(), st.text())
def test_keys_are_hex_and_differ_where_identifiers_do(one: str, other: str) -> None:
    assert len(key_of(one)) == 64
    assert set(key_of(one)) <= set("0123456789abcdef")
    assert (key_of(one) == key_of(other)) == (one == other)


def test_an_identifier_that_is_no_proper_text_has_a_key_too() -> None:
    assert key_of("\ud800") != key_of("\ud801")
