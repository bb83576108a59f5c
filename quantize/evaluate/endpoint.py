"""Asks OpenAI-compatible endpoints the same questions, and notes each reply."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import openai

from quantize.errors import EndpointAbsent, EndpointLost, UsageError
from quantize.evaluate.answers import Answers, Reply, Side
from quantize.evaluate.suite import Item, Source

MOST_TOKENS = 64  # of a reply: the longest right answer takes about 30
RETRIES = 4  # by the SDK, with its exponential backoff: a restarting engine is waited for
STARTING = frozenset({429, 500, 502, 503, 504})  # of its /models: it, or what is before it, may come up yet
LOOK_EVERY_S = 5.0  # at an endpoint that is waited for
STAMINA = 3  # questions in a row that may fail after their retries before an endpoint counts as lost


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one side answers. `model` is as its /models lists it."""

    side: Side
    url: str
    model: str
    key: str


async def await_endpoint(
    side: Side, url: str, model: str | None, key: str, wait_s: float, say: Callable[[str], None]
) -> Endpoint:
    """`find_endpoint`, asked again for `wait_s` seconds while an engine may be starting. Raises UsageError."""
    until, told = time.monotonic() + wait_s, ""
    while True:
        try:
            return await find_endpoint(side, url, model, key)
        except EndpointAbsent as problem:
            left = until - time.monotonic()
            if left <= 0:
                raise
            if str(problem) != told:
                told = str(problem)
                say(f"waiting, at most {left:.0f} s more: {told}")
        await asyncio.sleep(min(left, LOOK_EVERY_S))


async def find_endpoint(side: Side, url: str, model: str | None, key: str) -> Endpoint:
    """Check that it answers and has the model; its only one when none is named.

    Raises UsageError; EndpointAbsent where waiting may help.
    """
    try:
        async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=1, timeout=20) as client:
            listed = [entry.id async for entry in client.models.list()]
    except openai.APIStatusError as problem:
        kind = EndpointAbsent if problem.status_code in STARTING else UsageError
        raise kind(f"--{side} {url}: its /models answered {problem.status_code}") from problem
    except openai.APIError as problem:
        raise EndpointAbsent(f"--{side} {url} does not answer: is it an OpenAI base URL, with /v1?") from problem
    if model is None and len(listed) != 1:
        kind = UsageError if listed else EndpointAbsent
        raise kind(f"--{side} {url} has {len(listed)} models: name one with --{side}-model")
    if model is not None and model not in listed:
        raise EndpointAbsent(f"--{side} {url} has no model '{model}': it lists {', '.join(listed[:10])}")
    return Endpoint(side, url, model or listed[0], key)


class Asker:
    """Asks one endpoint. Once it is lost, it stays so: every later question is left for the next run."""

    def __init__(self, endpoint: Endpoint, answers: Answers, timeout_s: float, tokens: int = MOST_TOKENS) -> None:
        self.endpoint = endpoint
        self.lost = ""
        self._answers, self._tokens = answers, tokens
        self._failures = 0
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.url, api_key=endpoint.key, max_retries=RETRIES, timeout=timeout_s
        )

    async def close(self) -> None:
        await self._client.close()

    def has(self, key: str) -> bool:
        return (self.endpoint.side, key) in self._answers.replies

    async def ask(self, item: Item) -> None:
        """Raises UsageError when the endpoint refuses every question (401, 403, 404)."""
        if self.lost or self.has(item.key):
            return
        try:
            reply = await self._reply(item)
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as problem:
            raise UsageError(
                f"--{self.endpoint.side} {self.endpoint.url} refuses questions ({problem.status_code}): "
                "check its key and model"
            ) from problem
        except openai.APIError as problem:
            self._failures += 1
            if self._failures >= STAMINA:
                self.lost = describe(problem)
            return
        self._failures = 0
        self._answers.add(self.endpoint.side, item.key, reply)

    async def _reply(self, item: Item) -> Reply:
        content: list[Any] = [
            {"type": "image_url", "image_url": {"url": item.data_url}},
            {"type": "text", "text": item.text},
        ]
        try:
            answer = await self._client.chat.completions.create(
                model=self.endpoint.model,
                messages=[{"role": "user", "content": content}],
                max_tokens=self._tokens,
                temperature=0,
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as problem:
            return Reply("", True, describe(problem))  # this question only: the model is not wronged by the rest
        choice = answer.choices[0]
        return Reply((choice.message.content or "").strip(), choice.finish_reason == "stop")


async def ask_each(
    askers: Sequence[Asker], source: Source, concurrency: int, progress: Callable[[Item | None], None]
) -> None:
    """Ask each side every question it has not answered yet, `concurrency` at a time, drawn when their turn comes.

    `progress` is told of every question that is done with, and the item where it was asked just now.
    Raises EndpointLost when a side stopped answering (what was answered is among the answers), and UsageError.
    """
    keys = iter(source.keys)

    async def work() -> None:
        for key in keys:
            if any(asker.lost for asker in askers):
                return
            if all(asker.has(key) for asker in askers):
                progress(None)
                continue
            item = await asyncio.to_thread(source.item, key)
            await asyncio.gather(*(asker.ask(item) for asker in askers))
            progress(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
    except ExceptionGroup as problems:
        raise problems.exceptions[0] from None  # the first is the cause, the rest were cancelled or the same
    for asker in askers:
        if asker.lost:
            raise EndpointLost(f"the {asker.endpoint.side} at {asker.endpoint.url} stopped answering: {asker.lost}")


def describe(problem: openai.APIError) -> str:
    if isinstance(problem, openai.APIStatusError):
        told = problem.body.get("message") if isinstance(problem.body, dict) else None
        return f"{problem.status_code} {str(told or type(problem).__name__)[:200]}"
    return type(problem).__name__
