"""What was once asked, as lines of a trace (`scenario.arrivals` reads them): of a load run's records, or of the
lines that a gateway logs, which hold no content."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from loadtest.records import Run
from loadtest.scenario.document import ScenarioError

AUDIT = "fovea.audit"
# What a load run can ask in its turn: whatever the surface, it is a chat.
ROUTES = frozenset({"chat", "completions", "responses", "messages"})
MOST_REQUESTS = 2_000_000
NUMBER = (int, float)


@dataclass(frozen=True, slots=True)
class Asked:
    """`at_s` on any clock; `pictures` are names. None is not known."""

    at_s: float
    tenant: str
    pictures: tuple[str, ...]
    prompt_tokens: int | None
    answer_tokens: int | None


def asked_in_run(run: Run) -> Iterator[Asked]:
    """Each request that was sent, by itself, those of the warm-up too. The server's count of a prompt with pictures
    has theirs in it: such a prompt's words are not known."""
    for one in filter(lambda one: one.sent, run.requests):
        words = None if one.pictures else one.prompt_tokens or None
        yield Asked(one.due_s, one.tenant, one.pictures, words, one.output_tokens or None)


def asked_in_log(path: Path) -> Iterator[Asked]:
    """Of its audit lines in JSON, those of requests that could be answered: whoever was refused for room (429) or
    by a failing engine came all the same. Other lines are passed over. Raises ScenarioError."""
    found = False
    try:
        with path.open("rb") as file:
            for line in file:
                fields = fields_of(line)
                if fields is not None and (asked := as_asked(fields)):
                    found = True
                    yield asked
    except OSError as problem:
        raise ScenarioError(f"{path} cannot be read: {problem.strerror}") from problem
    if not found:
        raise ScenarioError(f"{path} has no request in it: a gateway's audit lines, in JSON, are wanted")


def fields_of(line: bytes) -> dict[str, Any] | None:
    if AUDIT.encode() not in line:
        return None
    try:
        fields = orjson.loads(line[line.find(b"{") :])  # kubectl and journals put words of theirs before it
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) and fields.get("logger") == AUDIT else None


def as_asked(fields: dict[str, Any]) -> Asked | None:
    """The line is written at a request's end: it came `ms` before."""
    status, took_ms = fields.get("status"), fields.get("ms")
    if fields.get("route") not in ROUTES or not isinstance(status, int) or not isinstance(took_ms, NUMBER):
        return None
    if 400 <= status < 500 and status != 429:
        return None
    try:
        ended_s = datetime.fromisoformat(str(fields.get("time"))).timestamp()
    except ValueError:
        return None
    images = fields.get("images", [])
    prompt = count_in(fields, "prompt_tokens") - count_in(fields, "image_tokens")
    return Asked(
        ended_s - took_ms / 1000,
        str(fields.get("tenant", "")),
        tuple(map(str, images)) if isinstance(images, list) else (),
        prompt if prompt > 0 else None,
        count_in(fields, "completion_tokens") or None,
    )


def count_in(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    return value if isinstance(value, int) else 0


def make_trace(asked: Iterable[Asked]) -> Iterator[bytes]:
    """In the order in which they came, from 0; pictures by number, the same for the same name. Raises ScenarioError
    where there are more than MOST_REQUESTS."""
    held: list[Asked] = []
    for one in asked:
        if len(held) == MOST_REQUESTS:
            raise ScenarioError(f"there are more than {MOST_REQUESTS:,} requests: take a shorter time")
        held.append(one)
    held.sort(key=lambda one: one.at_s)
    numbers: dict[str, int] = {}
    for one in held:
        line = {
            "at_s": round(one.at_s - held[0].at_s, 6),
            "tenant": one.tenant or None,
            "pictures": [numbers.setdefault(name, len(numbers)) for name in one.pictures],
            "prompt_tokens": one.prompt_tokens,
            "answer_tokens": one.answer_tokens,
        }
        told = {name: value for name, value in line.items() if value is not None}
        yield orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
