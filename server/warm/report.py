"""Counts what became of each picture of a catalogue, for people and as JSON."""

from collections import Counter
from dataclasses import dataclass, field

# Of pictures that were refused or failed, named one by one; all are counted.
MOST_NAMED = 1000


@dataclass(slots=True)
class Report:
    """`warmed` were encoded for us; `already_there` had been; of `untold` the target does not say. `done_before` is
    the journal's word. `passed_over` are files in folders that are no pictures."""

    warmed: int = 0
    already_there: int = 0
    untold: int = 0
    duplicates: int = 0
    done_before: int = 0
    passed_over: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    named: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""

    @property
    def pictures(self) -> int:
        """Those that have been looked at."""
        well = self.warmed + self.already_there + self.untold + self.duplicates + self.done_before
        return well + self.refused.total() + self.failed.total()

    @property
    def exit_code(self) -> int:
        return 1 if self.refused or self.failed or self.stopped else 0

    def refuse(self, where: str, reason: str) -> None:
        self.refused[reason] += 1
        self._name(where, "refused", reason)

    def fail(self, where: str, reason: str) -> None:
        self.failed[reason] += 1
        self._name(where, "failed", reason)

    def _name(self, where: str, outcome: str, reason: str) -> None:
        if len(self.named) < MOST_NAMED:
            self.named.append({"where": where, "outcome": outcome, "reason": reason})

    def as_json(self) -> dict[str, object]:
        words = ("warmed", "already_there", "untold", "duplicates", "done_before", "passed_over")
        return {
            "pictures": self.pictures,
            **{each: getattr(self, each) for each in words},
            "refused": dict(self.refused),
            "failed": dict(self.failed),
            "named": self.named,
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
        }

    def lines(self) -> list[str]:
        counts = [
            (self.warmed, "warmed"),
            (self.already_there, "already there"),
            (self.untold, "answered, but the engine does not tell whether it keeps embeddings"),
            (self.duplicates, "named twice"),
            (self.done_before, "done before"),
            (self.passed_over, "files passed over, which are no pictures"),
        ]
        lines = [f"{number} {words}" for number, words in counts if number]
        lines += [f"{number} refused: {reason}" for reason, number in self.refused.most_common()]
        lines += [f"{number} failed: {reason}" for reason, number in self.failed.most_common()]
        return [f"{self.pictures} pictures in {self.seconds:.1f} s", *(f"  {line}" for line in lines)]
