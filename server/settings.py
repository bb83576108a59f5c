"""The gateway's settings: FOVEA_* in the environment (nested with __), or a YAML file named by FOVEA_CONFIG.

Only the composition root reads them; every part receives its own section.
"""

import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from server.domain import TENANT, TENANT_RULE, KeyScope
from server.errors import ConfigError

PREFIX = "FOVEA_"
ImageFormat = Literal["jpeg", "png", "webp", "gif", "avif", "tiff", "heic"]
# Asymmetric ones alone: a shared secret would have to be here too.
TokenAlgorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
# Environment names that belong to other programs of ours or point at this file.
OTHER_NAMES = frozenset({"FOVEA_CONFIG", "FOVEA_ENGINE_PYTHON", "FOVEA_QUANTIZE_PYTHON"})


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class AuthSettings(Section):
    key_hashes: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of an API key (hex) -> tenant; none: no key is asked for"
    )
    keys_file: Path | None = Field(None, description="file of API keys (hashes), read again when it changes")
    keys_poll_s: float = Field(5, gt=0, description="seconds between looks at that file")
    protect_metrics: bool = Field(False, description="ask for a key with the scope admin at /metrics")

    @field_validator("key_hashes", mode="before")
    @classmethod
    def check_key_hashes(cls, hashes: Any) -> Any:
        # Before pydantic looks at it: its own message would quote what may be a plain key.
        if isinstance(hashes, dict):
            for number, (digest, tenant) in enumerate(hashes.items(), start=1):
                if not re.fullmatch(r"[0-9a-fA-F]{64}", str(digest)):
                    raise ValueError(f"entry {number} is not a SHA-256 in hex: 'fovea keys hash' makes it of a key")
                if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
                    raise ValueError(f"the tenant of entry {number} is not a name: {TENANT_RULE}")
        return hashes


class OidcSettings(Section):
    issuer: str | None = Field(None, description="take bearer tokens whose iss is this; none: no tokens")
    audience: tuple[str, ...] = Field((), description="of which a token must be for one (aud)")
    jwks_url: str | None = Field(None, description="where the issuer publishes its keys")
    allow_http: bool = Field(False, description="fetch these over http:// too")
    ca_file: Path | None = Field(None, description="certificates to trust there, besides the system's")
    refresh_s: float = Field(300, gt=0, description="seconds between fetches of them")
    refetch_pause_s: float = Field(10, gt=0, description="shortest time between two, whatever keys tokens name")
    algorithms: tuple[TokenAlgorithm, ...] = Field(("RS256", "ES256"), min_length=1, description="taken in tokens")
    leeway_s: float = Field(30, ge=0, le=300, description="by which clocks may differ")
    tenant_claim: tuple[str, ...] = Field(("sub",), min_length=1, description="path of the claim with the tenant")
    tenant_prefix: str = Field("oidc:", description="put before it: tokens' tenants are never those of keys")
    scope_claim: tuple[str, ...] = Field(("scope",), min_length=1, description="path of the claim with scopes")
    scopes: dict[str, tuple[KeyScope, ...]] = Field(
        {f"fovea:{scope}": (scope,) for scope in get_args(KeyScope)}, description="what its words give"
    )
    default_scopes: tuple[KeyScope, ...] = Field((), description="what every valid token has")

    @model_validator(mode="after")
    def it_is_whole(self) -> Self:
        if self.issuer is None:
            return self
        parts = urlsplit(self.jwks_url or "")
        if not self.issuer or not self.audience or not all(self.audience) or not parts.hostname:
            raise ValueError("oidc.issuer needs oidc.audience and oidc.jwks_url beside it")
        if parts.scheme != "https" and not (self.allow_http and parts.scheme == "http"):
            raise ValueError("oidc.jwks_url must start with https:// (http:// only with oidc.allow_http)")
        if self.tenant_prefix and not TENANT.fullmatch(self.tenant_prefix):
            raise ValueError(f"oidc.tenant_prefix is not the beginning of a name: {TENANT_RULE}")
        return self


class ImageSettings(Section):
    max_count: int = Field(16, ge=0, description="images a request may hold")
    max_bytes: ByteSize = Field(ByteSize(20 * 1024**2), description="bytes of one image")
    max_pixels: int = Field(36_000_000, gt=0, description="width x height of one image")
    max_side: int = Field(16_384, gt=0, description="width or height of one image, in pixels")
    max_aspect: int = Field(200, gt=0, description="longer side over shorter")
    max_frames: int = Field(1000, gt=0, description="frames of an animation, of which the first is taken")
    max_request_bytes: ByteSize = Field(
        ByteSize(64 * 1024**2), description="bytes of all images of a request together"
    )
    max_request_pixels: int = Field(144_000_000, gt=0, description="pixels of all images of a request together")
    formats: tuple[ImageFormat, ...] = Field(
        ("jpeg", "png", "webp", "gif", "avif"),
        description="formats that are taken; also: tiff, and heic with the extra of that name",
    )
    downscale: bool = Field(
        True, description="send engines no more pixels than the model's preprocessor keeps, where it is known"
    )
    low_detail_pixels: int = Field(512 * 512, gt=0, description="pixels of an image with detail: low")
    auto_detail: Literal["low", "high"] = Field("high", description="what detail: auto means")
    rendition_cache: ByteSize = Field(
        ByteSize(64 * 1024**2), description="bytes of downscaled and re-encoded images that are kept"
    )
    allow_http: bool = Field(False, description="fetch http:// as well as https://")
    allow_private_addresses: bool = Field(False, description="fetch from private and loopback addresses")
    ca_file: Path | None = Field(None, description="certificates to trust when fetching, besides the system's")
    allow_domains: tuple[str, ...] = Field((), description="fetch from these and what is below them only")
    deny_domains: tuple[str, ...] = Field((), description="never fetch from these or what is below them")
    fetch_timeout_s: float = Field(15, gt=0, description="for the whole of a fetch, redirects included")
    fetch_connect_s: float = Field(5, gt=0, description="to connect to a host")
    fetch_first_byte_s: float = Field(10, gt=0, description="for a host's answer to begin, connecting included")
    max_redirects: int = Field(3, ge=0, description="hops a fetch may follow, each checked anew")
    max_fetches: int = Field(32, gt=0, description="fetches under way at once")
    max_fetches_per_host: int = Field(8, gt=0, description="of these to one host")
    fetch_cache: ByteSize = Field(ByteSize(128 * 1024**2), description="bytes of fetched images that are kept")
    fetch_ttl_s: float = Field(60, ge=0, description="how long, where the host does not say")
    fetch_max_ttl_s: float = Field(3600, ge=0, description="how long at most, whatever the host says")
    check_threads: int = Field(2, gt=0, description="threads that decode base64, read headers and digest")
    decode_threads: int = Field(2, gt=0, description="threads that decode rasters, where that is needed")
    work_timeout_s: float = Field(
        10, gt=0, description="time that one of these has for an image, queueing included"
    )
    isolate_tenants: bool = Field(True, description="equal images of two tenants get different identities")

    @field_validator("allow_domains", "deny_domains")
    @classmethod
    def check_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for domain in domains:
            if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", domain):
                raise ValueError(f"'{domain}' is not a domain like example.com (lower case; IDN as xn--...)")
        return domains


class FileSettings(Section):
    path: Path | None = Field(None, description="folder of uploaded files; none: /v1/files is off")
    max_uploads: int = Field(32, gt=0, description="uploads under way at once")
    upload_timeout_s: float = Field(120, gt=0, le=1800, description="time a caller has to send a file")
    ttl_s: int = Field(30 * 24 * 3600, gt=0, description="how long a file is kept, where its upload does not say")
    tenant_files: int = Field(1000, gt=0, le=10_000, description="files that a tenant may have")
    tenant_bytes: ByteSize = Field(ByteSize(1024**3), description="bytes that a tenant's files may have")
    sweep_s: float = Field(60, gt=0, description="seconds between looks for expired files")
    s3_bucket: str | None = Field(None, description="keep files in this bucket; path then holds uploads under way")
    s3_prefix: str = Field("", description="put before all names in the bucket")
    s3_endpoint: str | None = Field(None, description="URL of an S3 store that is not AWS's")
    s3_region: str = Field("us-east-1", description="region of the bucket")

    @model_validator(mode="after")
    def a_bucket_needs_a_folder(self) -> Self:
        if self.s3_bucket is not None and self.path is None:
            raise ValueError("s3_bucket needs path too: uploads are written there before they are sent on")
        return self


class VideoSettings(Section):
    max_count: int = Field(0, ge=0, description="videos a request may hold; 0: videos are not taken")
    max_bytes: ByteSize = Field(ByteSize(16 * 1024**2), description="bytes of one video")
    max_duration_s: float = Field(60, gt=0, description="length of one video, as it says itself")
    max_frames: int = Field(3600, gt=0, description="pictures of one video, as it says itself")
    max_pixels: int = Field(3840 * 2160, gt=0, description="width x height of these, as it says itself")


class AdmissionSettings(Section):
    max_running: int | None = Field(
        None, gt=0, description="requests at a model's engines at once; none: what they turn out to take"
    )
    max_waiting: int = Field(256, ge=0, description="requests waiting for a model's engines")
    wait_timeout_s: float = Field(
        30, gt=0, description="longest wait for room, where a request names no time; then 429"
    )
    max_timeout_s: float = Field(600, gt=0, description="longest that a request may ask for (x-request-timeout)")
    max_retry_after_s: int = Field(60, gt=0, description="longest time that callers are told to wait (Retry-After)")
    answer_tokens: int = Field(512, gt=0, description="tokens that an answer without max_tokens is taken to have")
    brake_above: float = Field(0.9, gt=0, le=1, description="KV usage of the engines above which less is let in")
    release_below: float = Field(0.8, gt=0, le=1, description="KV usage below which more is let in again")
    overcommit: float = Field(
        4, ge=1, description="most tokens given out, in engines' tokens, where live usage shows room"
    )
    ageing_s: float = Field(
        10, gt=0, description="wait in which a request of a lower priority comes to weigh twice as much"
    )
    refresh_s: float = Field(1, gt=0, description="seconds between looks at what the engines report")
    gateways: int = Field(
        1, ge=1, description="gateways in front of these engines: each lets in its part of what is set here"
    )
    preprocessor: Path | None = Field(
        None, description="the model's folder, or its preprocessor_config.json there: makes image prices exact"
    )
    preprocessors: dict[str, Path] = Field(
        default_factory=dict, description="model -> the same, where several are served"
    )

    @model_validator(mode="after")
    def the_brake_lets_go(self) -> Self:
        if self.release_below > self.brake_above:
            raise ValueError("admission.release_below must not be above admission.brake_above")
        return self


class BudgetSettings(Section):
    requests: int | None = Field(None, ge=0, le=10**12, description="a minute")
    images: int | None = Field(None, ge=0, le=10**12, description="a minute, videos included")
    image_tokens: int | None = Field(None, ge=0, le=10**12, description="a minute")
    tokens: int | None = Field(None, ge=0, le=10**12, description="a minute, of prompts, images and answers")
    places: int | None = Field(None, ge=0, le=10**12, description="requests at once")


class LimitSettings(Section):
    key: BudgetSettings = Field(BudgetSettings(), description="what one key may take; see Limits")
    tenant: BudgetSettings = Field(
        BudgetSettings(), description="what a tenant's keys and tokens may take together"
    )
    token_tenant: BudgetSettings | None = Field(
        None, description="the same of tenants out of tokens, where it differs"
    )
    store_url: SecretStr | None = Field(None, description="Redis or Valkey through which gateways share limits")
    store_prefix: str = Field("fovea:", max_length=64, description="put before all keys there")
    store_timeout_s: float = Field(0.05, gt=0, le=5, description="longest wait for it, then it is taken for lost")

    lease_s: float = Field(
        15, ge=0.1, le=3600, description="silence after which the store gives a dead gateway's places back"
    )

    @field_validator("store_url")
    @classmethod
    def check_store_url(cls, url: SecretStr | None) -> SecretStr | None:
        # It may hold a password: no message quotes it.
        if url is not None:
            try:
                parts = urlsplit(url.get_secret_value())
                known = (parts.scheme in ("redis", "rediss") and parts.hostname) or (
                    parts.scheme == "unix" and parts.path
                )
            except ValueError:
                known = False
            if not known:
                raise ValueError(
                    "must be like redis://host:6379/0, rediss://user:password@host:6380 or unix:///path"
                )
        return url


class LogSettings(Section):
    format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    audit_file: Path | None = Field(None, description="file for the audit lines; none: they go with the others")
    audit_max_bytes: ByteSize = Field(ByteSize(100 * 1024**2), gt=0, description="of that file, then a new one")
    audit_backups: int = Field(9, ge=1, description="older audit files that are kept")


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
    hash_first: bool = Field(True, description="send pictures that an engine should hold by their names alone")
    hash_first_bytes: ByteSize = Field(
        ByteSize(4 * 1024**3), description="of processed pictures, what an engine keeps (--mm-processor-cache-gb)"
    )
    total_timeout_s: float = Field(3600, gt=0, description="time to the last byte of an answer")
    ca_file: Path | None = Field(None, description="certificates to trust at engines, besides the system's")
    retry_ratio: float = Field(0.1, ge=0, le=1, description="requests tried on a second engine, of all within 10 s")
    retry_floor: int = Field(10, ge=0, description="of these, what is always allowed within 10 s")
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


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True)

    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    images: ImageSettings = ImageSettings()
    files: FileSettings = FileSettings()
    video: VideoSettings = VideoSettings()
    admission: AdmissionSettings = AdmissionSettings()
    engines: EngineSettings = EngineSettings()
    limits: LimitSettings = LimitSettings()
    logs: LogSettings = LogSettings()
    oidc: OidcSettings = OidcSettings()

    @property
    def processes(self) -> int:
        """All that serve in front of the same engines."""
        return self.http.workers * self.admission.gateways

    @property
    def asks_for_keys(self) -> bool:
        return bool(self.auth.key_hashes) or self.auth.keys_file is not None or self.oidc.issuer is not None

    @model_validator(mode="after")
    def protected_metrics_can_be_read(self) -> Self:
        if self.auth.protect_metrics and not self.asks_for_keys:
            raise ValueError("auth.protect_metrics asks for a key, and there are none: set auth.keys_file")
        return self

    @model_validator(mode="after")
    def limited_keys_are_asked_for(self) -> Self:
        if self.limits.key != BudgetSettings() and not self.asks_for_keys:
            raise ValueError("limits.key counts keys, and none is asked for: set limits.tenant, for all together")
        return self

    @model_validator(mode="after")
    def the_largest_request_fits(self) -> Self:
        # A fetched image is held twice while its fetch ends, and a re-encoded one until its rendition is made.
        images = min(self.images.max_count * self.images.max_bytes, self.images.max_request_bytes)
        videos = self.video.max_count * self.video.max_bytes
        largest = self.http.max_body + 2 * images + self.images.max_bytes + videos
        if self.http.max_bytes_in_flight < largest:
            raise ValueError(
                "http.max_bytes_in_flight must be at least http.max_body + images.max_bytes + 2 x the lesser of "
                "images.max_request_bytes and images.max_count x images.max_bytes "
                "+ video.max_count x video.max_bytes, "
                f"{ByteSize(largest).human_readable()}: no request of the largest kind could ever be taken"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (which arrives as keyword arguments)."""
        return (env_settings, init_settings)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings. Raises ConfigError with one line a mistake."""
    environ = os.environ if environ is None else environ
    reject_unknown(environ)
    try:
        return Settings(**_read_file(environ.get("FOVEA_CONFIG")))
    except ValidationError as problem:
        lines = (f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in problem.errors())
        raise ConfigError("; ".join(lines)) from problem
    except SettingsError as problem:
        # It names the section alone; its cause would quote the value.
        raise ConfigError(f"a list or mapping among the settings is not valid JSON: {problem}") from None


def reject_unknown(environ: Mapping[str, str]) -> None:
    """pydantic-settings ignores a misspelt top-level name; we refuse to start."""
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    for name in environ:
        if name.startswith(PREFIX) and name not in OTHER_NAMES and name.split("__")[0] not in known:
            raise ConfigError(f"{name} is not a setting")


def _read_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as problem:
        raise ConfigError(f"FOVEA_CONFIG: cannot read {path}: {type(problem).__name__}") from problem
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"FOVEA_CONFIG: {path} must hold a mapping of settings")
    return content
