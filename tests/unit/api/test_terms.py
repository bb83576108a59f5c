import pytest

from server.api.terms import TermsReader
from server.domain import Priority, Tenant, Terms
from server.errors import CallerError, PriorityNotAllowed

READER = TermsReader(most_s=600, clock=lambda: 1000.0)


def of(tenant: Tenant = Tenant("ann"), **said: str) -> Terms:  # noqa: B008 - immutable
    headers = [(b"x-" + name.encode().replace(b"_", b"-"), value.encode("latin-1")) for name, value in said.items()]
    return READER.read([(b"host", b"localhost"), *headers], tenant)


@pytest.mark.parametrize("priority", ["interactive", "standard", "batch"])
def test_a_request_that_asks_for_nothing_has_its_keys_priority_and_no_deadline(priority: Priority) -> None:
    assert of(Tenant("ann", priority=priority)) == Terms(priority, None)


@pytest.mark.parametrize(
    ("most", "asked"), [("interactive", "standard"), ("standard", "batch"), ("batch", "batch")]
)
def test_a_priority_may_be_lowered(most: Priority, asked: str) -> None:
    assert of(Tenant("ann", priority=most), fovea_priority=asked).priority == asked


@pytest.mark.parametrize(("most", "asked"), [("standard", "interactive"), ("batch", "standard")])
def test_a_priority_is_never_raised_above_the_keys(most: Priority, asked: str) -> None:
    with pytest.raises(PriorityNotAllowed, match=f"'{most}'"):
        of(Tenant("ann", priority=most), fovea_priority=asked)


@pytest.mark.parametrize(("said", "deadline"), [("30", 1030), ("2.5", 1002.5), ("0.001", 1000.001), ("9999", 1600)])
def test_a_timeout_is_a_deadline_from_now_on_and_bounded(said: str, deadline: float) -> None:
    assert of(request_timeout=said) == Terms("standard", deadline)


@pytest.mark.parametrize(
    "said", ["", "0", "0.0", "-1", "+1", "1e3", "nan", "inf", "1s", " 1", "1_0", ".5", "5.", "\u0663", "1" * 10]
)
def test_a_malformed_timeout_is_the_callers_fault(said: str) -> None:
    with pytest.raises(CallerError, match="x-request-timeout must be a number of seconds"):
        READER.read([(b"x-request-timeout", said.encode())], Tenant("ann"))


@pytest.mark.parametrize("said", ["", "urgent", "Batch", "interactive,batch"])
def test_an_unknown_priority_is_the_callers_fault(said: str) -> None:
    with pytest.raises(CallerError, match="must be one of: interactive, standard, batch"):
        of(fovea_priority=said)


@pytest.mark.parametrize("name", [b"x-request-timeout", b"x-fovea-priority"])
def test_a_header_that_is_there_twice_is_refused(name: bytes) -> None:
    with pytest.raises(CallerError, match="twice"):
        READER.read([(name, b"batch"), (name, b"batch")], Tenant("ann"))
