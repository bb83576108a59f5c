"""The /metrics pages that are watched while a load runs, and who of them is shown a key."""

from dataclasses import dataclass

from yarl import URL


@dataclass(frozen=True, slots=True)
class Pages:
    """`key` is shown to pages of the server at `target` alone: engines have no business with the gateway's."""

    addresses: tuple[str, ...] = ()
    key: str = ""
    target: str = ""

    def headers(self, page: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key and is_of(page, self.target) else {}


def is_of(page: str, target: str) -> bool:
    """Whether both are of one scheme, host and port."""
    try:
        one, other = URL(page), URL(target)
        return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
    except ValueError:
        return False
