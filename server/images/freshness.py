"""How long a fetched body may be used again, by what its host says of it (RFC 9111, a shared cache's part)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

MOST_VALIDATOR = 256


@dataclass(frozen=True, slots=True)
class Validators:
    """What a host calls this version of a body; false where it calls it nothing."""

    etag: str | None = None
    modified: str | None = None

    def __bool__(self) -> bool:
        return self.etag is not None or self.modified is not None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        """Only short ones: they are kept for as long as the body is, and sent again."""
        found = (headers.get(name) for name in ("etag", "last-modified"))
        return cls(*(value if value and len(value) <= MOST_VALIDATOR else None for value in found))

    def headers(self) -> dict[str, str]:
        """For asking whether it still holds."""
        named = {"if-none-match": self.etag, "if-modified-since": self.modified}
        return {name: value for name, value in named.items() if value is not None}


def fresh_for(headers: Mapping[str, str], default_s: float, most_s: float) -> float | None:
    """Seconds from now; None where it must not be kept at all."""
    directives = dict(parse_directive(each) for each in headers.get("cache-control", "").split(",") if each.strip())
    if "no-store" in directives or "private" in directives or headers.get("vary", "").strip() == "*":
        return None
    if "no-cache" in directives:
        return 0.0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return min(max(0.0, number(directives[name]) - number(headers.get("age", "0"))), most_s)
    return min(default_s, most_s)


def parse_directive(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def number(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0.0
