"""Settings of the traces."""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from server.setting_sections.section import Section

PATH = "/v1/traces"


class TraceSettings(Section):
    endpoint: str | None = Field(None, description="OTLP/HTTP receiver that spans are sent to; none: no traces")
    # Each that is takes half a millisecond of CPU in all, thrice what a small request takes without it.
    ratio: float = Field(0.01, ge=0, le=1, description="part of the requests that are traced")
    callers: Literal["ignore", "join", "trust"] = Field(
        "join", description="a caller's traceparent: not read; its trace goes on here; its sampled flag counts, too"
    )
    service_name: str = Field("fovea-gateway", min_length=1, description="what this gateway is called there")
    headers_file: Path | None = Field(None, description="file of headers for the receiver, name: value a line")
    ca_file: Path | None = Field(None, description="certificates to trust there, instead of the usual ones")
    timeout_s: float = Field(5, gt=0, description="longest time to send spans, second tries included")
    queue: int = Field(8192, gt=0, description="spans that may wait to be sent; what comes then is dropped")

    @field_validator("endpoint")
    @classmethod
    def check_endpoint(cls, url: str | None) -> str | None:
        """Without a path it is the protocol's own."""
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError("it is not a URL like http://127.0.0.1:4318 (secrets belong into headers_file)")
        return url if parts.path.strip("/") else parts._replace(path=PATH).geturl()
