"""The gate: does the report show that enough of the base's sight was kept?

It looks at the lower end of the 95 % interval of retention, so that too few questions never pass.
"""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from quantize.errors import UsageError
from quantize.evaluate.report import ALL, Group, Report
from quantize.manifest import update_report
from quantize.yaml_file import first_error, read_yaml

POLICY = Path(__file__).parent / "policies" / "default.yaml"
Share = Annotated[float, Field(ge=0, le=1)]


class Policy(BaseModel):
    """`retention`: the least lower bound by skill, by skill/level, or under "default" for every other skill."""

    model_config = ConfigDict(extra="forbid")

    retention: dict[str, Share] = Field(min_length=1)
    required_skills: list[str] = []
    least_questions: Annotated[int, Field(ge=1)] = 100
    least_base_accuracy: Share = 0.5

    @field_validator("retention")
    @classmethod
    def names_are_groups(cls, retention: dict[str, float]) -> dict[str, float]:
        for name in retention:
            if not re.fullmatch(r"[\w -]+(/\w+)?", name):
                raise ValueError(f"'{name}' is neither a skill nor skill/level")
        return retention


def read_policy(path: Path) -> Policy:
    """Raises RecipeError."""
    return read_yaml(path, Policy)


def read_report(path: Path) -> Report:
    """Raises UsageError."""
    try:
        return Report.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read {path}: {type(problem).__name__}") from problem
    except ValidationError as problem:
        raise UsageError(f"{path} is not a report of fovea-quantize evaluate: {first_error(problem)}") from problem


def breaches(report: Report, policy: Policy) -> list[str]:
    """One sentence for each way in which the report does not show what the policy asks."""
    found = []
    if not report.complete:
        found.append(f"the report is not complete: {report.unanswered} questions are unanswered")
    groups = {(group.skill, group.level): group for group in report.groups}
    skills = list(dict.fromkeys(group.skill for group in report.groups))
    found += [f"{skill}: required, but not asked" for skill in policy.required_skills if skill not in skills]
    for name in policy.retention:
        if "/" in name and tuple(name.split("/")) not in groups:
            found.append(f"{name}: has a threshold, but was not asked")
    for skill in skills:
        least = policy.retention.get(skill, policy.retention.get("default"))
        if least is not None:
            found += _group_breaches(pooled(report.groups, skill), least, policy, skill)
    for group in report.groups:
        name = f"{group.skill}/{group.level}"
        if name in policy.retention:
            found += _group_breaches(group, policy.retention[name], policy, name)
    if not skills:
        found.append("the report holds no answers")
    return found


def pooled(groups: list[Group], skill: str) -> Group:
    """The skill over all its levels: the group that says so, or the only one."""
    members = [group for group in groups if group.skill == skill]
    return next((group for group in members if group.level == ALL), members[0])


def write_verdict(report: Report, policy: Policy, found: list[str], checkpoint: Path) -> Path:
    """Put the verdict under "sight" into the checkpoint's fovea-report.json, and leave the rest of it as it is.

    Raises UsageError.
    """
    return update_report(
        checkpoint,
        "sight",
        {
            "verdict": "red" if found else "green",
            "breaches": found,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "policy": policy.model_dump(),
            "report_sha256": hashlib.sha256(report.model_dump_json().encode()).hexdigest(),
            "report": report.model_dump(exclude={"cases"}),
        },
    )


def _group_breaches(group: Group, least: float, policy: Policy, name: str) -> list[str]:
    if group.asked < policy.least_questions:
        return [f"{name}: {group.asked} questions asked, {policy.least_questions} needed"]
    base = group.base.accuracy.value
    if group.retention is None or base < policy.least_base_accuracy:
        return [
            f"{name}: the base itself answers only {base:.1%} right, and {policy.least_base_accuracy:.0%} are "
            "needed to show anything"
        ]
    if group.retention.low < least:
        return [
            f"{name}: retention {group.retention.value:.1%}, shown to be at least {group.retention.low:.1%}, "
            f"needed {least:.1%} (base {base:.1%}, candidate {group.candidate.accuracy.value:.1%})"
        ]
    return []
