"""Settings of the engines: where they are, and how they are asked."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ByteSize, Field, field_validator, model_validator

from server.setting_sections.section import Section


def check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{url}' is not a URL like http://127.0.0.1:8000")
    return url


EngineUrl = Annotated[str, AfterValidator(check_url)]


class KubernetesSettings(Section):
    """Where a pool's engines are a Kubernetes service's endpoints."""

    service: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="name of the service")
    namespace: str | None = Field(None, description="of the service; none: the pod's own")
    port: str = Field("http", description="its port, by name or number")
    kubeconfig: Path | None = Field(None, description="how to reach the API server; none: as a pod does")


class EnginePoolSettings(Section):
    """One of `engines.pools`: engines that are found in one way, and serve alike."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$", description="what its engines are named after")
    urls: tuple[EngineUrl, ...] = Field((), description="base URLs of its engines")
    dns: str | None = Field(None, description="or http://NAME:PORT, whose every address is an engine")
    kubernetes: KubernetesSettings | None = Field(None, description="or a service, whose ready endpoints are")
    models: tuple[str, ...] = Field((), description="the only models taken from it; none: all that it serves")
    weight: float = Field(1, ge=0, description="its part of the tenants, where several pools serve a model")
    most: int = Field(64, gt=0, le=1024, description="engines that are taken from these, at most")

    @field_validator("dns")
    @classmethod
    def check_dns(cls, dns: str | None) -> str | None:
        parts = urlsplit(dns or "")
        if dns is not None and (parts.scheme != "http" or not parts.hostname or parts.path.strip("/")):
            raise ValueError(
                f"'{dns}' is not like http://engines.default.svc:8000 (certificates hold no addresses)"
            )
        return dns

    @model_validator(mode="after")
    def is_found_in_one_way(self) -> Self:
        if sum(map(bool, (self.urls, self.dns, self.kubernetes))) != 1:
            raise ValueError(f"the pool '{self.name}' needs one of urls, dns and kubernetes")
        return self


class EngineSettings(Section):
    urls: tuple[EngineUrl, ...] = Field((), description="base URLs of the engines")
    pools: tuple[EnginePoolSettings, ...] = Field((), description="more of them, in pools")
    aliases: dict[str, str] = Field(
        default_factory=dict, description="other names of models -> what engines call them"
    )
    poll_s: float = Field(2.0, gt=0, description="seconds between readiness checks")
    connect_timeout_s: float = Field(5, gt=0, description="time to connect to an engine")
    first_byte_timeout_s: float = Field(
        300, gt=0, description="time to the first byte of an answer, queueing included"
    )
    idle_timeout_s: float = Field(120, gt=0, description="longest silence inside an answer")
    affinity: bool = Field(
        True, description="send a picture to the engine that has it; false: to the one with the least load"
    )
    hash_first: bool = Field(True, description="send pictures that an engine should hold by their names alone")
    hash_first_bytes: ByteSize = Field(
        ByteSize(4 * 1024**3), description="of processed pictures, what an engine keeps (--mm-processor-cache-gb)"
    )
    total_timeout_s: float = Field(3600, gt=0, description="time to the last byte of an answer")
    ca_file: Path | None = Field(None, description="certificates to trust at engines, besides the system's")
    retry_ratio: float = Field(0.1, ge=0, le=1, description="requests tried on a second engine, of all within 10 s")
    retry_floor: int = Field(10, ge=0, description="of these, what is always allowed within 10 s")
    hedge_after_s: float = Field(
        0, ge=0, description="silence before an answer after which another engine is asked, too; 0: never"
    )
    eject_failures: int = Field(5, gt=0, description="failures in a row that put an engine out")
    eject_error_rate: float = Field(0.5, gt=0, le=1, description="or this part of at least 20 requests")
    eject_window_s: float = Field(30, gt=0, description="within this time, or twice that")
    eject_most: float = Field(0.5, ge=0, le=1, description="part of a pool that may be out for failures")
    eject_s: float = Field(5, gt=0, description="time out when it fails again soon, doubled each time")
    eject_most_s: float = Field(
        300, gt=0, description="longest time out; after as long without a fault, earlier ones are forgotten"
    )
    slow_start_s: float = Field(30, ge=0, description="time in which an engine that came in gets its full load")

    @field_validator("pools")
    @classmethod
    def names_are_distinct(cls, pools: tuple[EnginePoolSettings, ...]) -> tuple[EnginePoolSettings, ...]:
        names = ["engine", *(pool.name for pool in pools)]
        if len(set(names)) < len(names):
            raise ValueError("two pools have one name (engine is that of engines.urls)")
        return pools

    @field_validator("aliases")
    @classmethod
    def lead_to_models(cls, aliases: dict[str, str]) -> dict[str, str]:
        for alias, name in aliases.items():
            if name in aliases or not 0 < len(alias) <= 256 or not alias.isprintable():
                raise ValueError(f"'{alias}' must be a printable name, and no alias of an alias")
        return aliases
