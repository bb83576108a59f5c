"""Closed-loop load: a fixed number of callers, each asking about the next picture as soon as it has an answer."""

import asyncio
import base64
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

MEDIA_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked, by how many callers at once; `requests` in all."""

    url: str
    model: str
    api_key: str
    pictures: tuple[Path, ...]
    question: str
    max_tokens: int
    requests: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request. Times in seconds from sending; `error` is empty where it was answered."""

    first_token_s: float
    total_s: float
    tokens: int
    error: str


def data_url(path: Path) -> str:
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


async def drive(load: Load, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """Send all requests, pictures in turn. Failures are outcomes, never exceptions."""
    urls = [data_url(path) for path in load.pictures]
    numbers = iter(range(load.requests))
    outcomes: list[Outcome] = []
    async with openai.AsyncOpenAI(base_url=load.url, api_key=load.api_key, max_retries=0) as client:

        async def caller() -> None:
            for number in numbers:
                outcome = await ask(client, load, urls[number % len(urls)] if urls else None)
                outcomes.append(outcome)
                on_outcome(outcome)

        await asyncio.gather(*(caller() for _ in range(load.concurrency)))
    return outcomes


async def ask(client: openai.AsyncOpenAI, load: Load, picture: str | None) -> Outcome:
    # Any: the SDK's unions of message types cannot be met by a list built step by step.
    content: list[Any] = [{"type": "text", "text": load.question}]
    if picture is not None:
        content.insert(0, {"type": "image_url", "image_url": {"url": picture}})
    messages: list[Any] = [{"role": "user", "content": content}]
    began = time.perf_counter()
    first_token_s, tokens = 0.0, 0
    try:
        stream = await client.chat.completions.create(
            model=load.model,
            messages=messages,
            max_tokens=load.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.choices and not first_token_s:
                first_token_s = time.perf_counter() - began
            if chunk.usage:
                tokens = chunk.usage.completion_tokens
    except openai.APIStatusError as problem:
        return Outcome(0, time.perf_counter() - began, 0, str(problem.code or problem.status_code))
    except openai.APIError as problem:
        return Outcome(0, time.perf_counter() - began, 0, str(problem.code or type(problem).__name__))
    return Outcome(first_token_s, time.perf_counter() - began, tokens, "")


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; `share` within 0..1. Raises ValueError on no values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
