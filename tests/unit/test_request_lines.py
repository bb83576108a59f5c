import json

import pytest

from server.record import RequestRecord
from server.request_lines import access_fields, audit_fields, encode_json, make_line

# What no line shows: it is for traces.
TRACES = {"span", "traceparent"}
FIELDS = [name for name in RequestRecord.__slots__ if name not in TRACES]
ACCESS = {"time", "level", "logger", "event", "request_id", "method", "path", "status", "code", "ms"}


def full_record() -> RequestRecord:
    """Every field of it says something."""
    record = RequestRecord("req-1")
    for name in FIELDS:
        kind = type(getattr(record, name))
        setattr(record, name, {str: f"a-{name}", int: 7, float: 1.5, list: ["d" * 12]}[kind])
    return record


def test_the_audits_line_holds_all_of_a_record() -> None:
    record = full_record()
    fields = audit_fields(record, "now")
    assert set(FIELDS) <= set(fields)
    assert not TRACES & set(fields)
    assert all(fields[name] == getattr(record, name) for name in FIELDS)


def test_the_shorter_line_holds_what_operators_look_at_first() -> None:
    assert set(access_fields(full_record(), "now")) == ACCESS | {"tenant", "route", "model", "engine"}


def test_what_is_empty_is_left_out() -> None:
    for fields in (access_fields(RequestRecord("req-1"), "now"), audit_fields(RequestRecord("req-1"), "now")):
        assert set(fields) == ACCESS - {"code"}


@pytest.mark.parametrize("name", ["model\x7f", "m\u202eodel", "mödel", "m\nodel", "m" * 3000])
def test_a_line_is_one_printable_line_of_a_bounded_length(name: str) -> None:
    record = full_record()
    record.model = name
    line = make_line(audit_fields(record, "now"), encode_json)
    assert line.endswith(b"}\n")
    assert line[:-1].decode().isprintable()
    assert len(line) < 4000
    assert json.loads(line)["status"] == 7
