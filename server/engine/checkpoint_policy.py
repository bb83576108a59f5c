"""Whether the checkpoint in a folder is whole and its report allows to serve it: before an engine is started.

`fovea await-checkpoint` waits for it, `fovea engine --require-report` asks once. Weights are not read, their
headers are: who took them here (`fovea-quantize run, push, pull`) has looked at every byte.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from server.engine.encoder_cache.checkpoint import NoFingerprint, Tensor, read_object, weight_files
from server.engine.metrics.checkpoint import (
    REPORT,
    kind_of,
    quantization_of,
    read_report,
    recipe_of,
    section,
    stamp_of,
    tensors_of,
)

# trial: verified, whatever the gate has said before, for its questions are asked of a running engine.
Policy = Literal["verified", "gated", "trial", "none"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  (.+)")
MOST_SUMS_BYTES = 4 << 20
# Larger ones are weights, which their headers and the report's count of bytes stand for.
MOST_HASHED_BYTES = 64 << 20
# Written for people, and by them.
UNSERVED = frozenset({"README.md"})
ANOTHER = "serve another checkpoint"


class Verdict(NamedTuple):
    """`waiting`: it may come yet. `refused`: only somebody's doing changes that. One sentence either way."""

    state: Literal["ready", "waiting", "refused"]
    sentence: str


class Refusal(Exception):
    """One sentence: why it must not be served, and what to do."""


class Waiting(Exception):
    """One sentence: what is not there yet."""


def parse_policy(text: str) -> Policy:
    """Raises ValueError."""
    if text not in POLICIES:
        raise ValueError(f"{text!r} is none of {', '.join(POLICIES)}")
    return text


def look_at(folder: Path, policy: Policy) -> Verdict:
    """Once, as it lies there now."""
    try:
        tensors = whole_tensors(folder)
        told = f"{folder} is whole ({sum(each.size for each in tensors) / 1e9:.2f} GB)"
        return Verdict("ready", f"{told}, {', '.join(allowed_by(folder, tensors, policy))}")
    except Waiting as problem:
        return Verdict("waiting", str(problem))
    except Refusal as problem:
        return Verdict("refused", str(problem))


def whole_tensors(folder: Path) -> list[Tensor]:
    """Raises Waiting."""
    if not folder.is_dir():
        raise Waiting(f"{folder} is not there yet")
    if not (folder / "config.json").is_file():
        raise Waiting(f"{folder} has no config.json yet")
    try:
        read_object(folder / "config.json")
        if not weight_files(folder):
            raise Waiting(f"{folder} holds no weights yet")
        return tensors_of(folder)
    except (NoFingerprint, OSError) as problem:
        raise Waiting(f"{folder} is not whole yet: {problem}") from problem


def allowed_by(folder: Path, tensors: list[Tensor], policy: Policy) -> Iterator[str]:
    """What is known of it, where that is enough. Raises Refusal, Waiting."""
    report = read_report(folder)
    kind, sight = kind_of(report), section(report, "sight")
    red = "verdict" in sight and sight["verdict"] != "green"
    if policy == "none":
        yield words_of(folder, kind, red) + " (none is required)"
        return
    if kind == "none":
        raise no_report(folder, policy)
    check_belongs(folder, tensors, section(section(report, "quantize"), "bytes").get("after"), policy)
    if red and policy != "trial":
        raise Refusal(
            f"{folder} has failed the sight gate ({first_breach(sight.get('breaches'))}): {ANOTHER}, made by a "
            "recipe that keeps more in BF16, or require no report to serve this one all the same"
        )
    if not section(report, "quantize").get("proof") and policy in ("verified", "trial"):
        raise Refusal(
            f"{folder} has a report, but no proof of its bytes: quantize it again with fovea-quantize run, without "
            "--no-verify"
        )
    if policy == "gated" and kind != "gated":
        raise Waiting(f"{folder} has not been through the sight gate yet (fovea-quantize evaluate, then gate)")
    yield f"recipe {recipe_of(report)}"
    yield words_of(folder, kind, red)
    if kind == "gated" and not section(report, "quantize").get("proof"):
        yield "its bytes not proved"


def words_of(folder: Path, kind: str, red: bool) -> str:
    if kind == "none":
        what = "not quantized" if quantization_of(folder) == "none" else "quantized by somebody else"
        return f"{what}, and nothing is known of it: it has no {REPORT}"
    if kind == "gated":
        return "its sight has FAILED the gate" if red else "its sight has passed the gate"
    return {"verified": "proved", "unverified": "not proved"}[kind]


def no_report(folder: Path, policy: Policy) -> Exception:
    """An unquantized checkpoint will never get one; of a quantized one it may be under way."""
    if (folder / REPORT).exists():
        return Refusal(f"{folder / REPORT} is no report of fovea-quantize: quantize it again, or {ANOTHER}")
    if quantization_of(folder) == "none":
        return Refusal(
            f"{folder} is not quantized and has no {REPORT}, and it is to be {policy}: require no report to serve "
            "it, or quantize it with fovea-quantize run"
        )
    return Waiting(f"{folder} has no {REPORT} yet")


def first_breach(breaches: object) -> str:
    return str(breaches[0])[:300] if isinstance(breaches, list) and breaches else "no reason is given"


def check_belongs(folder: Path, tensors: list[Tensor], promised: object, policy: Policy) -> None:
    """That report and files are of one another. Raises Refusal, Waiting."""
    there = sum(each.size for each in tensors)
    if promised is not None and promised != there:
        raise Refusal(
            f"{folder / REPORT} is of other files: it tells of {promised} bytes of weights, and {there} are there: "
            "quantize or fetch the checkpoint again"
        )
    if not (folder / SUMS).exists():
        if policy == "gated" and promised is None:
            return  # the verdict on a checkpoint that is not of our making: there are no sums
        raise Waiting(f"{folder} has no {SUMS} yet")
    sums = read_sums(folder)
    wanted = {path.name for path in weight_files(folder)} | {REPORT, "config.json"}
    if unknown := sorted(wanted - sums.keys()):
        raise Refusal(f"{folder / SUMS} does not know {unknown[0]}: quantize or fetch the checkpoint again")
    for name, digest in sums.items():
        if name not in UNSERVED:
            check_file(folder, name, digest)


def check_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if name.startswith("/") or ".." in path.parts:
        raise Refusal(f"{folder / SUMS} is damaged: fetch the checkpoint again")
    try:
        if not path.is_file():
            raise Waiting(f"{path} is not there yet")
        if path.stat().st_size > MOST_HASHED_BYTES or name.endswith(".safetensors"):
            return
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as problem:
        raise Waiting(f"{path} is not there yet") from problem
    if found != digest:
        raise Refusal(f"{path} is not the file that {SUMS} describes: quantize or fetch the checkpoint again")


def read_sums(folder: Path) -> dict[str, str]:
    """Digest by name. Raises Refusal, Waiting."""
    try:
        if (folder / SUMS).stat().st_size > MOST_SUMS_BYTES:
            raise Refusal(f"{folder / SUMS} is far too large: fetch the checkpoint again")
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise Waiting(f"{folder / SUMS} cannot be read yet") from problem
    found = [LINE.fullmatch(line) for line in lines]
    if not all(found):
        raise Refusal(f"{folder / SUMS} is damaged: fetch the checkpoint again")
    return {match[2]: match[1] for match in found if match}


def settled(folder: Path, policy: Policy, wait: Callable[[float], None], settle_s: float = 2.0) -> Verdict:
    """As `look_at`, but what would be refused is looked at until it stays as it is: somebody may be writing."""
    while True:
        before = stamps_of(folder)
        verdict = look_at(folder, policy)
        if verdict.state != "refused":
            return verdict
        wait(settle_s)
        if stamps_of(folder) == before:
            return verdict


def stamps_of(folder: Path) -> list[tuple[str, object]]:
    try:
        return sorted((path.name, stamp_of(path)) for path in folder.iterdir())
    except OSError:
        return []
