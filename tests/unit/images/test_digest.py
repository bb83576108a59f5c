from hypothesis import given
from hypothesis import strategies as st

from server.images.digest import identify


@given(st.binary(), st.binary())
def test_shared_identities_name_the_content(a: bytes, b: bytes) -> None:
    assert (identify(a, None) == identify(b, None)) == (a == b)


@given(st.binary(), st.text(), st.text())
def test_isolated_tenants_never_share_an_identity(data: bytes, one: str, other: str) -> None:
    assert (identify(data, one) == identify(data, other)) == (one == other)
    assert identify(data, one) != identify(data, None)
