"""What a load is made of, as a YAML file says it: the first stage of a run, before anything is planned or sent."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Weight = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=100_000)]


class ScenarioError(ValueError):
    """A scenario that cannot be run, in one sentence that names the file and the key."""


class Part(BaseModel):
    """A misspelt key is an error, never silently a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Closed(Part):
    """So many callers, each sending its next request when it has its answer. Says nothing about overload: a slow
    server is asked less."""

    kind: Literal["closed"]
    concurrency: int = Field(ge=1, le=10_000)


class Poisson(Part):
    """Independent callers: exponential gaps, `rate` a second on average, whatever the server does."""

    kind: Literal["poisson"]
    rate: Rate


class Bursts(Part):
    """Poisson whose rate is `burst_rate` for the last `for_s` of every `every_s`, `rate` before."""

    kind: Literal["bursts"]
    rate: Rate
    burst_rate: Rate
    every_s: float = Field(gt=0)
    for_s: float = Field(gt=0)

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.for_s > self.every_s:
            raise ValueError("for_s is longer than every_s")
        return self


class Trace(Part):
    """What was once asked, at the times it was asked: a JSONL file of `at_s` and, where they are known, `tenant`,
    `pictures` (numbers), `prompt_tokens` and `answer_tokens`. Its path is from the scenario's folder."""

    kind: Literal["trace"]
    file: Path
    speed: float = Field(1, gt=0)


Open = Annotated[Poisson | Bursts, Field(discriminator="kind")]
Arrival = Annotated[Closed | Poisson | Bursts | Trace, Field(discriminator="kind")]


class Size(Part):
    width: int = Field(ge=16, le=16_384)
    height: int = Field(ge=16, le=16_384)
    weight: Weight = 1


class Format(Part):
    format: Literal["jpeg", "png", "webp"]
    quality: int = Field(85, ge=1, le=100)
    weight: Weight = 1


class Count(Part):
    count: int = Field(ge=0, le=64)
    weight: Weight = 1


class Unique(Part):
    """Each picture is shown once."""

    kind: Literal["unique"]


class Zipf(Part):
    """Of `catalogue` pictures the k-th best known is shown in proportion to 1 / k^skew; 0 shows all alike."""

    kind: Literal["zipf"]
    skew: float = Field(ge=0, le=5)


class Ratio(Part):
    """`share` of the pictures shown are one of the last `catalogue` that were new; the others are new."""

    kind: Literal["ratio"]
    share: float = Field(ge=0, le=1)


class Pictures(Part):
    """`drawing` decides what they show, and so how they compress: `objects` (products), `receipt` (small print),
    `photo` (grain: large files), `camera` (`cameras` fixed views in which little changes from frame to frame)."""

    per_request: tuple[Count, ...] = Field((Count(count=1),), min_length=1)
    sizes: tuple[Size, ...] = Field((Size(width=448, height=448),), min_length=1)
    formats: tuple[Format, ...] = Field((Format(format="jpeg"),), min_length=1)
    drawing: Literal["objects", "receipt", "photo", "camera"] = "objects"
    cameras: int = Field(4, ge=1, le=10_000)
    catalogue: int = Field(1000, ge=1, le=10_000_000)
    reuse: Annotated[Unique | Zipf | Ratio, Field(discriminator="kind")] = Unique(kind="unique")


class Conversations(Part):
    """`turns` questions, each with all that was said before; the next is sent `think_s` after an answer's end.
    With `same_picture` the first question's pictures are what all are about, else each brings its own."""

    turns: int = Field(1, ge=1, le=1000)
    same_picture: bool = True
    think_s: float = Field(0, ge=0)


class Tokens(Part):
    """A normal distribution, cut at `least` and `most`; `spread` is its standard deviation."""

    mean: float = Field(gt=0)
    spread: float = Field(0, ge=0)
    least: int = Field(1, ge=1)
    most: int = Field(100_000, ge=1)

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.least > self.most:
            raise ValueError("least is more than most")
        return self


class Text(Part):
    """`prompt_tokens` are words, most of which are one token to a full-size model: the report has what the server
    counted. `shared_prefix_tokens` more stand in front of every conversation, the same for all. An answer is of
    exactly `answer_tokens` where `exact_answers` (engines that know `ignore_eos`), of that many at most else."""

    prompt_tokens: Tokens = Tokens(mean=32)
    answer_tokens: Tokens = Tokens(mean=32)
    shared_prefix_tokens: int = Field(0, ge=0, le=100_000)
    exact_answers: bool = False


class Tenant(Part):
    """`key_env` names the environment's variable that holds its API key: keys are in no scenario. One with an
    `arrival` of its own comes by that, beside the others, who share the scenario's by `weight`."""

    name: str = Field(min_length=1, max_length=64)
    weight: Weight = 1
    key_env: str | None = None
    priority: Literal["interactive", "standard", "batch"] | None = None
    arrival: Open | None = None


class Slo(Part):
    """A request is good if it meets all that are said."""

    ttft_ms: float | None = Field(None, gt=0)
    itl_ms: float | None = Field(None, gt=0)
    e2e_ms: float | None = Field(None, gt=0)


class Scenario(Part):
    """Whatever may be drawn from it ends: after `requests`, or after `duration_s` of arrivals."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str = ""
    arrival: Arrival
    requests: int | None = Field(None, ge=1)
    duration_s: float | None = Field(None, gt=0)
    warm_up_requests: int = Field(0, ge=0)
    pictures: Pictures = Pictures()
    conversations: Conversations = Conversations()
    text: Text = Text()
    tenants: tuple[Tenant, ...] = Field((Tenant(name="default"),), min_length=1)
    slo: Slo = Slo()

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.arrival.kind != "trace" and (self.requests is None) is (self.duration_s is None):
            raise ValueError("say either requests or duration_s")
        if len({tenant.name for tenant in self.tenants}) < len(self.tenants):
            raise ValueError("two tenants have the same name")
        own = [tenant for tenant in self.tenants if tenant.arrival]
        if own and self.arrival.kind not in ("poisson", "bursts"):
            raise ValueError("a tenant's own arrival goes with poisson or bursts only")
        if len(own) == len(self.tenants):
            raise ValueError("every tenant has an arrival of its own: nobody is left for the scenario's")
        return self
