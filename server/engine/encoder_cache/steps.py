"""What the two halves of the connector tell each other in a step: orders go to all workers, a report comes back.

vLLM pickles both. An order's item lies pinned in the arena until the report of its step has come.
"""

from collections import Counter
from dataclasses import dataclass, field

from server.engine.encoder_cache.arena_view import Span
from server.engine.encoder_cache.entry import Encoding


@dataclass(frozen=True, slots=True)
class Load:
    """Put this into vLLM's encoder cache before the step runs: `span` of the arena holds `shape` of `dtype`."""

    identifier: str
    key: str
    span: Span
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Setup:
    """What workers open: `arena` names the memory, `namespace` whose entries they write. `private`: entries of this
    namespace are good for nobody else, so they stay out of the shared tier. `encoding`: of what they write."""

    arena: str
    namespace: str
    private: bool
    encoding: Encoding = "raw"


@dataclass(frozen=True, slots=True)
class StepOrders:
    """`setup` comes along until every worker has said that it is ready."""

    step: int = 0
    loads: tuple[Load, ...] = ()
    setup: Setup | None = None


NOTHING = StepOrders()


@dataclass(slots=True)
class StepReport:
    """Of one worker, or of several when vLLM has aggregated them: `workers` that are ready for what `step` ordered.

    `failed` are identifiers that hold something wrong now; `off` says why no more may be ordered. `counts` are
    added up, `held` replaced.
    """

    step: int
    workers: int = 0
    failed: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    off: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    held: dict[str, float] = field(default_factory=dict)

    def aggregate(self, other: "StepReport") -> "StepReport":
        """Of another worker in the same step: vLLM calls this."""
        return StepReport(
            max(self.step, other.step),
            self.workers + other.workers,
            self.failed + other.failed,
            self.saved + other.saved,
            self.off or other.off,
            self.counts + other.counts,
            self.held | other.held,
        )
