"""Takes `POST /fovea/embeddings/forget` in vLLM's API server: embeddings are deleted wherever they are kept.

`{"digests": [...]}`, pictures as requests name them. 200 says that none of them is found any more, by this engine
or by any that shares its folders and store; 503, that some may be: ask again.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from server.engine.encoder_cache.telling import App, Message, Receive, Send

PATH = "/fovea/embeddings/forget"
MOST_DIGESTS = 1000
MOST_DIGEST_CHARACTERS = 256
MOST_BODY_BYTES = 384 * 1024
# At once, beyond the one that works: their callers come again.
MOST_WAITING = 8

# Blocking: forgets these identifiers, and returns how many of them may still be there. Raises nothing.
Forget = Callable[[Sequence[str]], int]


class Refused(Exception):
    """Why a request is not one of ours: a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Forgets:
    """Other paths pass through. What is asked for is done by one thread, in the order in which it came.

    `open_kept` is called there, until it says what forgets, with the application; None: nothing is kept here.
    """

    def __init__(self, app: App, open_kept: Callable[[Any], Forget | None]) -> None:
        self._app = app
        self._open_kept = open_kept
        self._forget: Forget | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fovea-forget")
        self._waiting = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        try:
            if scope["method"] != "POST":
                raise Refused(405, "Use POST here.")
            digests = read_digests(await read_body(receive))
            if self._waiting > MOST_WAITING:
                raise Refused(503, "Too much is being forgotten: ask again later.")
            left = await self._run(digests, scope)
            if left is None:
                raise Refused(404, "This engine keeps no embeddings.")
            answer = {"forgotten": len(digests) - left, "left": left}
            await say(send, 503 if left else 200, answer)
        except Refused as problem:
            await say(send, problem.status, {"error": str(problem)})

    async def _run(self, digests: Sequence[str], scope: Message) -> int | None:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, digests, scope["app"])
        finally:
            self._waiting -= 1

    def _work(self, digests: Sequence[str], application: Any) -> int | None:
        if self._forget is None:
            self._forget = self._open_kept(application)
        return None if self._forget is None else self._forget(digests)


async def read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The body has no end.")
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            raise Refused(413, f"The body has more than {MOST_BODY_BYTES} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


def read_digests(body: bytes) -> list[str]:
    """Each once. Raises Refused."""
    try:
        asked = json.loads(body)
    except ValueError as problem:
        raise Refused(400, "The body is not JSON.") from problem
    digests = asked.get("digests") if isinstance(asked, dict) and len(asked) == 1 else None
    if not isinstance(digests, list) or not 0 < len(digests) <= MOST_DIGESTS:
        raise Refused(400, f'The body must be {{"digests": [...]}} with 1 to {MOST_DIGESTS} of them.')
    for each in digests:
        if not isinstance(each, str) or not 0 < len(each) <= MOST_DIGEST_CHARACTERS or not each.isprintable():
            raise Refused(400, f"A digest is a string of 1 to {MOST_DIGEST_CHARACTERS} characters.")
    return list(dict.fromkeys(digests))


async def say(send: Send, status: int, answer: Mapping[str, object]) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
