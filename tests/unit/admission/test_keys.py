import hashlib

import pytest

from server.admission.keys import ANONYMOUS, KeyRing
from server.errors import Unauthenticated

RING = KeyRing({hashlib.sha256(b"secret").hexdigest().upper(): "lab"})


def test_a_known_key_names_its_tenant() -> None:
    assert RING.authenticate("Bearer secret").name == "lab"


@pytest.mark.parametrize(
    "value", [None, "", "secret", "Basic secret", "Bearer ", "Bearer wrong", "Bearer s\xe9cret"]
)
def test_everything_else_is_refused(value: str | None) -> None:
    with pytest.raises(Unauthenticated):
        RING.authenticate(value)


def test_an_empty_ring_asks_for_no_key() -> None:
    assert KeyRing({}).authenticate(None) == ANONYMOUS
