"""Where an engine listens, read off its URL: what to connect to, and what every request to it begins with."""

import ssl
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """`prefix` stands before every path; `fixed` is the header lines that never change."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str
    fixed: str

    @classmethod
    def of(cls, url: str, ca_file: Path | None = None) -> Self:
        """Raises ValueError, OSError (of the file) and UnicodeError."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        named = f"[{host}]" if ":" in host else host.encode("idna").decode()
        if parts.port is not None:
            named += f":{parts.port}"
        fixed = f"host: {named}\r\naccept: */*\r\n"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            fixed += f"authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
        prefix = parts.path.rstrip("/")
        if not (prefix.isascii() and prefix.isprintable() and " " not in prefix):
            raise ValueError("the path of an engine's URL must be written in ASCII, without blanks")
        tls = make_tls(ca_file) if secure else None
        return cls(host, parts.port or (443 if secure else 80), tls, prefix, fixed)

    def begin(self, method: str, path: str) -> str:
        """The lines that a request begins with."""
        return f"{method} {self.prefix}{path} HTTP/1.1\r\n{self.fixed}"


def make_tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
