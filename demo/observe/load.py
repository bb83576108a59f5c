"""What callers do in the demonstration: a little of everything that dashboards show, again and again.

Each kind of call is a method; `round` makes all of them once, side by side, and takes what answers come: it is
load, not a test. Only that a gateway answers at all is asked for.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from demo.observe.callers import GALLERY, NIGHTLY, RUNNING, SHOP, SHOP_REQUESTS
from demo.observe.pictures import PictureHost, animation, data_url, drawn, large, noise

VIDEO = Path(__file__).parent / "two_colours.mp4"
CHAT = "/v1/chat/completions"
ALBUM = 12
LONG, SHORT = 48, 6
CALLERS = 8
CROWD = 3 * RUNNING
PATIENCE_S = 300
NO_ANSWER = 0


class Load:
    """Callers of one gateway. `outcomes`: answers by kind of call and status, 0 where none came."""

    def __init__(self, url: str, model: str, host: PictureHost, seed: int) -> None:
        limits = httpx2.Limits(max_connections=4 * CALLERS)
        self._http = httpx2.Client(base_url=url, timeout=PATIENCE_S, limits=limits)
        self._model = model
        self._host = host
        self._seed = seed
        self._numbers = itertools.count()
        self._leaving = False
        self.outcomes: Counter[tuple[str, int]] = Counter()

    def round(self) -> None:
        """All kinds of calls once; a crowd last, which meets nobody else."""
        self._side_by_side(self.kinds(), CALLERS)
        self._side_by_side([partial(self.long_answer, number) for number in range(CROWD)], CROWD)

    def _side_by_side(self, calls: Sequence[Callable[[], None]], callers: int) -> None:
        """Told to stop, nobody calls again, and only what is under way is waited for."""
        with ThreadPoolExecutor(callers) as pool:
            try:
                for done in [pool.submit(call) for call in calls]:
                    done.result()
            except KeyboardInterrupt:
                self._leaving = True
                raise

    def kinds(self) -> list[Callable[[], None]]:
        return [
            self.new_pictures,
            self.album_and_again,
            self.conversation,
            self.by_url,
            self.uploaded,
            self.changed_pictures,
            self.video,
            self.text,
            self.other_routes,
            self.refused,
            self.beyond_the_limit,
            self.leaving,
        ]

    def new_pictures(self) -> None:
        """And each once more: the second time it is known."""
        for stream in (True, False):
            shown = drawn(next(self._numbers), self._seed)
            for _ in range(2):
                self._chat("picture", [image(shown.data_url), text(shown.text)], stream=stream)

    def album_and_again(self) -> None:
        """So many pictures that the engine's own memory has no room for the first when it comes again."""
        first = [image(noise(next(self._numbers))) for _ in range(ALBUM)]
        other = [image(noise(next(self._numbers))) for _ in range(ALBUM)]
        for album in (first, other, first):
            self._chat("album", [*album, text("What do you see?")], max_tokens=1)

    def conversation(self) -> None:
        """Every turn brings a picture, and all that was said before."""
        messages: list[dict[str, Any]] = []
        for _ in range(3):
            shown = drawn(next(self._numbers), self._seed)
            messages.append({"role": "user", "content": [image(shown.data_url), text(shown.text)]})
            self._post("conversation", CHAT, self._body(messages=messages, max_tokens=SHORT))
            messages.append({"role": "assistant", "content": "yes"})

    def by_url(self) -> None:
        address = self._host.url(next(self._numbers))
        for url in (address, address, self._host.gone):
            self._chat("picture by URL", [image(url), text("What is this?")])

    def uploaded(self) -> None:
        data = httpx2.get(self._host.url(next(self._numbers))).content
        answer = self._http.post(
            "/v1/files", files={"file": ("a.png", data)}, data={"purpose": "vision"}, headers=headers(GALLERY)
        )
        self.outcomes["upload", answer.status_code] += 1
        if answer.status_code == httpx2.codes.OK:
            self._chat("uploaded picture", [image(answer.json()["id"]), text("What is this?")])

    def changed_pictures(self) -> None:
        """An animation, of which engines get the first frame; a photograph at low detail."""
        self._chat("animation", [image(animation(next(self._numbers))), text("What is this?")])
        part = image(large(next(self._numbers)))
        part["image_url"]["detail"] = "low"
        self._chat("low detail", [part, text("What is this?")])

    def video(self) -> None:
        part = {"type": "video_url", "video_url": {"url": data_url(VIDEO.read_bytes(), "video/mp4")}}
        self._chat("video", [part, text("What is this?")])

    def text(self) -> None:
        for key in (GALLERY, NIGHTLY):
            self._chat("text", [text("Say something.")], key=key, stream=True)

    def other_routes(self) -> None:
        shown = drawn(next(self._numbers), self._seed)
        source = {"type": "base64", "media_type": shown.media_type, "data": shown.data_url.partition(",")[2]}
        message = {"role": "user", "content": [{"type": "image", "source": source}, text(shown.text)]}
        self._post("messages", "/v1/messages", self._body(messages=[message], max_tokens=SHORT))
        parts = [{"type": "input_image", "image_url": shown.data_url}, {"type": "input_text", "text": shown.text}]
        question = {"role": "user", "content": parts}
        body = {"model": self._model, "input": [question], "max_output_tokens": 16, "store": False}
        self._post("responses", "/v1/responses", body)

    def refused(self) -> None:
        """Wrong in four ways: the model, a field, the picture, the key."""
        self._post("unknown model", CHAT, {**self._body(), "model": "another"})
        self._post("unknown field", CHAT, {**self._body(), "prompt_logprobs": 3, "mm_processor_kwargs": {}})
        self._chat("broken picture", [image(data_url(b"this is no picture")), text("What is this?")])
        self._post("unknown key", CHAT, self._body(), key="nobody")

    def beyond_the_limit(self) -> None:
        for _ in range(SHOP_REQUESTS + 1):
            self._chat("shop", [text("How much?")], key=SHOP)

    def leaving(self) -> None:
        """A caller that reads the first token and goes."""
        body = self._body(max_tokens=LONG, stream=True, ignore_eos=True)
        with (
            suppress(httpx2.HTTPError),
            self._http.stream("POST", CHAT, json=body, headers=headers(GALLERY)) as answer,
        ):
            next(answer.iter_raw(), None)
            self.outcomes["left", answer.status_code] += 1

    def long_answer(self, number: int) -> None:
        """One of a crowd: more than may run at once, and every fourth has hardly any time."""
        body = self._body(max_tokens=LONG, stream=True, ignore_eos=True)
        hurry = {"x-request-timeout": "0.05", "x-fovea-priority": "batch"} if number % 4 == 3 else {}
        self._post("long answer", CHAT, body, extra=hurry)

    def _body(self, **fields: Any) -> dict[str, Any]:
        plain = [{"role": "user", "content": "Say something."}]
        return {"model": self._model, "messages": plain, "max_tokens": SHORT, **fields}

    def _chat(self, kind: str, content: list[dict[str, Any]], key: str = GALLERY, **fields: Any) -> None:
        self._post(kind, CHAT, self._body(messages=[{"role": "user", "content": content}], **fields), key)

    def _post(
        self, kind: str, path: str, body: dict[str, Any], key: str = GALLERY, extra: dict[str, str] | None = None
    ) -> None:
        if self._leaving:
            return
        try:
            answer = self._http.post(path, json=body, headers={**headers(key), **(extra or {})})
        except httpx2.TransportError:
            self.outcomes[kind, NO_ANSWER] += 1
        else:
            self.outcomes[kind, answer.status_code] += 1


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}
