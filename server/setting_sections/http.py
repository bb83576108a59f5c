"""Settings of the connections to callers."""

import re
from ipaddress import ip_address

from pydantic import ByteSize, Field, field_validator

from server.setting_sections.section import Section


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class HttpSettings(Section):
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    hosts: tuple[str, ...] = Field((), description="names that callers may call it by; none: see Hosts")
    max_body: ByteSize = Field(ByteSize(32 * 1024**2), description="largest request body")
    max_bytes_in_flight: ByteSize = Field(
        ByteSize(512 * 1024**2), description="bodies and fetched images of all requests together, until answered"
    )
    bytes_wait_s: float = Field(10, gt=0, description="longest wait for a share of these, then 429")
    body_timeout_s: float = Field(60, gt=0, description="time a caller has to send its body")
    max_head: ByteSize = Field(ByteSize(32 * 1024), ge=1024, description="largest line and headers of a request")
    head_timeout_s: float = Field(10, gt=0, description="time a caller has to send these")
    stall_timeout_s: float = Field(60, gt=0, description="time a caller has to read on, before it is cut off")
    keepalive_s: float = Field(
        10, ge=0, description="silence before a stream's first event after which it is kept open; 0: never"
    )
    idle_timeout_s: float = Field(
        5, gt=0, le=3600, description="silence after an answer in which a connection is kept for the next request"
    )
    max_connections: int = Field(2048, gt=0, description="connections open at once; the next is told 503")
    workers: int = Field(1, ge=1, le=64, description="processes that serve")
    drain_grace_s: float = Field(
        5, ge=0, description="after SIGTERM: not ready, but serving, until nobody sends requests here any more"
    )
    drain_s: float = Field(30, ge=0, description="time that running answers then have, before they are cut off")

    @field_validator("hosts")
    @classmethod
    def check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", host, re.ASCII) and not is_address(host):
                raise ValueError(f"'{host}' is not a name or an address: leave out scheme, port and brackets")
        return hosts
