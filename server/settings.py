"""The gateway's settings: FOVEA_* in the environment (nested with __), or a YAML file named by FOVEA_CONFIG.

Only the composition root reads them; every part receives its own section.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ByteSize, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from server.errors import ConfigError
from server.setting_sections.admission import AdmissionSettings, BudgetSettings, LimitSettings
from server.setting_sections.auth import AuthSettings, OidcSettings
from server.setting_sections.engines import EngineSettings
from server.setting_sections.http import HttpSettings
from server.setting_sections.logs import LogSettings
from server.setting_sections.media import FileSettings, ImageSettings, VideoSettings
from server.setting_sections.section import mistakes_in
from server.setting_sections.traces import TraceSettings

PREFIX = "FOVEA_"
# Environment names that belong to other programs of ours or point at this file.
OTHER_NAMES = frozenset({
    "FOVEA_API_KEY", "FOVEA_CONFIG", "FOVEA_EMBEDDING_CACHE_SHARED", "FOVEA_ENGINE_METRICS", "FOVEA_ENGINE_PYTHON",
    "FOVEA_LMMS_EVAL_PYTHON", "FOVEA_METRICS_KEY", "FOVEA_QUANTIZE_PYTHON",
})  # fmt: skip
OTHER_PREFIXES = ("FOVEA_LOADTEST_",)


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
    traces: TraceSettings = TraceSettings()

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
        raise ConfigError("; ".join(f"{name}: {why}" for name, why in mistakes_in(problem))) from problem
    except SettingsError as problem:
        # It names the section alone; its cause would quote the value.
        raise ConfigError(f"a list or mapping among the settings is not valid JSON: {problem}") from None


def reject_unknown(environ: Mapping[str, str]) -> None:
    """pydantic-settings ignores a misspelt top-level name; we refuse to start."""
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    for name in environ:
        if not name.startswith(PREFIX) or name.startswith(OTHER_PREFIXES):
            continue
        if name not in OTHER_NAMES and name.split("__")[0] not in known:
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
