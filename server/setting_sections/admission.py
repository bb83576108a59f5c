"""Settings of who is let in, and of what each may take."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from server.setting_sections.section import Section


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
