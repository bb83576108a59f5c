"""The same plan sent by aiperf (its own environment): a second client to measure the server with, where it can.

It sends the very bodies that our driver sends (its `raw_payload` input), and what it writes down of each request
becomes our records. What it cannot: docs/adr/0016-a-driver-of-our-own.md.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from loadtest.driving.caller import Clock, Target, as_body
from loadtest.driving.drive import ReadyConversation, as_message, as_record
from loadtest.driving.gallery import Gallery
from loadtest.driving.stream import Heard, ProtocolError, word_of
from loadtest.records import RequestRecord
from loadtest.scenario.document import Closed, Poisson, Scenario, ScenarioError
from loadtest.scenario.plan import PlannedConversation

INPUTS, ARTIFACTS = "aiperf-inputs.jsonl", "aiperf"
RAW, TRACED = "profile_export_raw.jsonl", "profile_export.jsonl"  # what was heard; the answers' headers
NANO = 1e-9


class AiperfError(ValueError):
    """It did not run, in a sentence."""


@dataclass(frozen=True, slots=True)
class Aiperf:
    """`tokenizer` is a folder: it insists on one, though the server's own counts are taken."""

    program: Path
    tokenizer: Path


def refusal_of(scenario: Scenario, target_keys: Iterable[str]) -> str | None:
    """Why it cannot do this scenario: a sentence; None where it can."""
    if not isinstance(scenario.arrival, Closed | Poisson) or any(t.arrival for t in scenario.tenants):
        return "it sends bodies of ours in closed loops and at Poisson times only"
    if len(scenario.tenants) > 1 or scenario.tenants[0].priority:
        return "it has one key and no priority of its own for a run"
    if scenario.conversations.turns > 1:
        return "it would not put the server's answers into later turns"
    if any(target_keys):
        return "it takes an API key on its command line, for all to see"
    if scenario.requests is None and isinstance(scenario.arrival, Closed):
        return "its input is a file, and a closed loop of a duration has no end: say requests"
    return None


async def drive_by_aiperf(
    aiperf: Aiperf,
    scenario: Scenario,
    plan: Iterable[PlannedConversation],
    target: Target,
    gallery: Gallery,
    folder: Path,
    clock: Clock,
) -> list[RequestRecord]:
    """In the order in which they ended. Raises ScenarioError or AiperfError."""
    if why := refusal_of(scenario, target.keys.values()):
        raise ScenarioError(f"aiperf cannot do {scenario.name}: {why}")
    planned: list[RequestRecord] = []
    with (folder / INPUTS).open("wb") as file:
        for each in plan:
            request = each.turns[0]
            shown = tuple([await gallery.get(picture) for picture in request.pictures])
            file.write(as_body(target, [as_message(request, shown)], request.answer_tokens) + b"\n")
            planned.append(as_record(ReadyConversation(each, (shown,)), request, None))
    await run_aiperf(arguments_of(aiperf, scenario, len(planned), target, folder), folder)
    return read_records(folder / ARTIFACTS, planned, clock)


def arguments_of(aiperf: Aiperf, scenario: Scenario, requests: int, target: Target, folder: Path) -> list[str]:
    arrival = scenario.arrival
    paced = ["--concurrency", str(arrival.concurrency)] if isinstance(arrival, Closed) else []
    if isinstance(arrival, Poisson):
        paced = ["--request-rate", str(arrival.rate), "--arrival-pattern", "poisson"]
    url = target.url.rstrip("/").removesuffix("/v1")
    return [
        str(aiperf.program), "profile", "--model", target.model, "--url", url,
        "--endpoint-type", "chat", "--streaming", "--input-file", str(folder / INPUTS),
        "--custom-dataset-type", "raw_payload", "--dataset-sampling-strategy", "sequential",
        "--request-count", str(requests), *paced, "--export-level", "raw", "--export-http-trace",
        "--artifact-dir", str(folder / ARTIFACTS), "--use-server-token-count", "--tokenizer", str(aiperf.tokenizer),
        "--request-timeout-seconds", str(target.timeout_s), "--ui", "none", "--workers-max", "2",
    ]  # fmt: skip


async def run_aiperf(arguments: Sequence[str], folder: Path) -> None:
    """Raises AiperfError. Its words go to a file: they are many."""
    said = folder / "aiperf.log"
    with said.open("wb") as log:
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments, stdout=log, stderr=log, env={**os.environ, "AIPERF_DISABLE_TELEMETRY": "1"}
            )
        except OSError as problem:
            raise AiperfError(f"{arguments[0]} cannot be started ({problem.strerror})") from problem
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:  # Ctrl-C
                process.terminate()
                await process.wait()
        if code:
            raise AiperfError(f"aiperf ended with {code}: {said} says why")


def read_records(folder: Path, planned: Sequence[RequestRecord], clock: Clock) -> list[RequestRecord]:
    """Raises AiperfError where it left none that can be read."""
    try:
        heard, traced = read_lines(folder / RAW), read_lines(folder / TRACED)
        known = [number for number in heard if number < len(planned)]
        records = [noted(planned[n], heard[n], headers_of(traced.get(n, {})), clock) for n in known]
    except (OSError, orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as problem:
        raise AiperfError(f"{folder} is not what aiperf 0.13 writes ({type(problem).__name__})") from problem
    return sorted(records, key=lambda record: record.ended_s)


def read_lines(path: Path) -> dict[int, dict[str, Any]]:
    """By `session_num`: the line of the input."""
    with path.open("rb") as file:
        return {line["metadata"]["session_num"]: line for line in map(orjson.loads, file)}


def headers_of(line: dict[str, Any]) -> dict[str, str]:
    headers = (line.get("trace_data") or {}).get("response_headers") or {}
    return {name.lower(): word_of(str(value)) for name, value in headers.items()}


def noted(planned: RequestRecord, line: dict[str, Any], headers: dict[str, str], clock: Clock) -> RequestRecord:
    """`planned` with what aiperf wrote of it: wall-clock times become seconds since it was sent."""
    heard, metadata = Heard(), line["metadata"]
    sent_s, sent_ns = clock.at_s(line["start_perf_ns"]), metadata["request_start_ns"]
    acknowledged_ns = metadata.get("request_ack_ns")
    try:
        for at_s, text in events_of(line, clock):
            heard.feed(f"data: {text}\n".encode(), at_s)
        broken = (line.get("error") or {}).get("code") or ("" if heard.done else "cut")
    except ProtocolError:
        broken = "protocol"
    return replace(
        planned,
        sent_s=sent_s,
        first_byte_s=sent_s + (acknowledged_ns - sent_ns) * NANO if acknowledged_ns else None,
        token_s=tuple(heard.token_s),
        ended_s=sent_s + (metadata["request_end_ns"] - sent_ns) * NANO,
        status=line.get("status") or 0,
        code=heard.code or word_of(str(broken)),
        prompt_tokens=heard.prompt_tokens,
        output_tokens=heard.output_tokens,
        engine=headers.get("x-fovea-engine", ""),
        image_cache=headers.get("x-fovea-image-cache", ""),
    )


def events_of(line: dict[str, Any], clock: Clock) -> Iterator[tuple[float, str]]:
    for response in line.get("responses") or ():
        for packet in response.get("packets") or ():
            if packet.get("name") == "data":
                yield clock.at_s(response["perf_ns"]), packet.get("value") or ""
