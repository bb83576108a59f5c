import pytest

from server.traces.traceparent import Caller, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def read(*values: str) -> Caller | None:
    return read_traceparent([(b"host", b"a"), *((b"traceparent", value.encode("latin-1")) for value in values)])


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("ff", True)])
def test_a_callers_span_is_read_with_its_flag(flags: str, sampled: bool) -> None:
    assert read(f"00-{TRACE}-{SPAN}-{flags}") == Caller(int(TRACE, 16), int(SPAN, 16), sampled)


def test_a_later_version_may_say_more() -> None:
    assert read(f"01-{TRACE}-{SPAN}-01-more") == Caller(int(TRACE, 16), int(SPAN, 16), True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[:-1]}\xb2-{SPAN}-01",
    ],
)
def test_what_the_standard_calls_invalid_is_none(value: str) -> None:
    assert read(value) is None


def test_of_two_none_is_believed() -> None:
    assert read(f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01") is None
    assert read() is None
