"""What the answers show: per skill and difficulty, both sides and the difference between them."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict

from quantize.evaluate.answers import Reply, Side
from quantize.evaluate.intervals import (
    Paired,
    bootstrap_difference,
    bootstrap_mean_difference,
    mcnemar,
    retention,
    wilson,
)
from quantize.evaluate.score import Mark, last_word, mark
from quantize.evaluate.suite import Item, Source

FORMAT = 1
ALL = "all"
MOST_CASES = 500  # differing answers kept in the report


class Estimate(BaseModel):
    """A value and its 95 % interval; `high` is None where it has no upper end."""

    model_config = ConfigDict(extra="forbid")

    value: float
    low: float
    high: float | None


class SideResult(BaseModel):
    """One side's answers to one group. `character_error` (OCR) and `overlap` (boxes: IoU) are means."""

    model_config = ConfigDict(extra="forbid")

    right: int
    accuracy: Estimate
    outcomes: dict[str, int]
    character_error: float | None
    overlap: float | None


class Group(BaseModel):
    """One skill at one level, or at all of them. Differences are candidate minus base."""

    model_config = ConfigDict(extra="forbid")

    skill: str
    level: str
    asked: int
    base: SideResult
    candidate: SideResult
    only_base_right: int
    only_candidate_right: int
    difference: Estimate
    p_value: float
    agreement: float
    retention: Estimate | None
    character_error_difference: Estimate | None
    overlap_difference: Estimate | None


class Case(BaseModel):
    """One question to which the two sides gave different answers, or both a strange one."""

    model_config = ConfigDict(extra="forbid")

    key: str
    question: str
    truth: str
    base: str
    base_outcome: str
    candidate: str
    candidate_outcome: str


class Report(BaseModel):
    """The whole outcome of `fovea-quantize evaluate`, as report.json holds it."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    date: str
    fovea: str
    questions: dict[str, Any]
    base: dict[str, str]
    candidate: dict[str, str]
    complete: bool
    unanswered: int
    problem: str
    groups: list[Group]
    differing: int
    cases: list[Case]


@dataclass(frozen=True, slots=True)
class Answered:
    """One question that both sides answered, and their marks."""

    item: Item
    base: Reply
    candidate: Reply
    base_mark: Mark
    candidate_mark: Mark

    @property
    def agrees(self) -> bool:
        return _normalised(self.base.text) == _normalised(self.candidate.text)


def mark_answers(
    source: Source, replies: Mapping[tuple[Side, str], Reply], known: Mapping[str, Item]
) -> list[Answered]:
    """Everything that both sides answered, in the order of asking; `known` spares drawing pictures again."""
    answered = []
    for key in source.keys:
        base, candidate = replies.get(("base", key)), replies.get(("candidate", key))
        if base is not None and candidate is not None:
            item = known.get(key) or source.item(key).without_picture()
            answered.append(Answered(item, base, candidate, mark_reply(base, item), mark_reply(candidate, item)))
    return answered


def mark_reply(reply: Reply, item: Item) -> Mark:
    if reply.fault:
        return Mark(
            "endpoint error", 1.0 if item.truth.kind == "text" else None, 0.0 if item.truth.kind == "box" else None
        )
    return mark(reply.text, item.truth, reply.finished)


def make_groups(answered: Sequence[Answered]) -> list[Group]:
    """Each skill at each level, and over all levels where there are several."""
    by_skill: dict[str, dict[str, list[Answered]]] = defaultdict(lambda: defaultdict(list))
    for each in answered:
        by_skill[each.item.skill][each.item.level].append(each)
    groups = []
    for skill, levels in by_skill.items():
        groups += [_make_group(skill, level, members) for level, members in levels.items()]
        if len(levels) > 1:
            groups.append(_make_group(skill, ALL, [each for members in levels.values() for each in members]))
    return groups


def make_cases(answered: Sequence[Answered]) -> list[Case]:
    """The answers that differ, those that changed a mark first."""
    differing = [each for each in answered if not each.agrees]
    differing.sort(key=lambda each: each.base_mark.right == each.candidate_mark.right)
    return [
        Case(
            key=each.item.key,
            question=each.item.text,
            truth=each.item.truth.value,
            base=each.base.text or each.base.fault,
            base_outcome=each.base_mark.outcome,
            candidate=each.candidate.text or each.candidate.fault,
            candidate_outcome=each.candidate_mark.outcome,
        )
        for each in differing[:MOST_CASES]
    ]


def _make_group(skill: str, level: str, members: Sequence[Answered]) -> Group:
    rights = Counter((each.base_mark.right, each.candidate_mark.right) for each in members)
    paired = Paired(rights[True, True], rights[True, False], rights[False, True], rights[False, False])
    low, high = bootstrap_difference(paired)
    kept = retention(paired)
    return Group(
        skill=skill,
        level=level,
        asked=paired.asked,
        base=_side([each.base_mark for each in members]),
        candidate=_side([each.candidate_mark for each in members]),
        only_base_right=paired.only_base,
        only_candidate_right=paired.only_candidate,
        difference=Estimate(value=(paired.candidate - paired.base) / paired.asked, low=low, high=high),
        p_value=mcnemar(paired.only_base, paired.only_candidate),
        agreement=fmean(each.agrees for each in members),
        retention=None if kept is None else Estimate(value=kept[0], low=kept[1], high=_finite(kept[2])),
        character_error_difference=_mean_difference(members, "error"),
        overlap_difference=_mean_difference(members, "overlap"),
    )


def _side(marks: Sequence[Mark]) -> SideResult:
    right = sum(each.right for each in marks)
    low, high = wilson(right, len(marks))
    errors = [each.error for each in marks if each.error is not None]
    overlaps = [each.overlap for each in marks if each.overlap is not None]
    return SideResult(
        right=right,
        accuracy=Estimate(value=right / len(marks), low=low, high=high),
        outcomes=dict(Counter(each.outcome for each in marks)),
        character_error=fmean(errors) if errors else None,
        overlap=fmean(overlaps) if overlaps else None,
    )


def _mean_difference(members: Sequence[Answered], measure: str) -> Estimate | None:
    pairs = [(getattr(each.base_mark, measure), getattr(each.candidate_mark, measure)) for each in members]
    differences = [after - before for before, after in pairs if before is not None and after is not None]
    if not differences:
        return None
    low, high = bootstrap_mean_difference(differences)
    return Estimate(value=fmean(differences), low=low, high=high)


def _finite(value: float) -> float | None:
    return value if value < 1e6 else None


def _normalised(text: str) -> str:
    return re.sub(r"\W+", " ", last_word(text)).strip().casefold()
