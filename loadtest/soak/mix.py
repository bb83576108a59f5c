"""What callers of the soak do, one visit at a time: all that could leave something behind.

What is asked hangs on nothing but the seed. Each kind says which outcomes are its own; any other is a finding.
"""

import base64
import io
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from PIL import Image

MODEL = "soak"
KEYS = {"gallery": "soak-gallery", "shop": "soak-shop", "nightly": "soak-nightly", "small": "soak-small"}
SMALL_REQUESTS = 3  # a minute, of the tenant `small`
ANSWERED = "answered"
LEFT = "left"
# What any request may be told where there is no room: bounded in number, not forbidden.
FULL = frozenset({"waited_too_long", "queue_full", "deadline_unreachable"})
SIDES = (96, 128, 160, 224)
KNOWN = 40  # pictures that come back
Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `leave_after`: its caller goes after so many pieces of the answer."""

    body: bytes | dict[str, Any] | None
    key: str
    path: str = "/v1/chat/completions"
    leave_after: int | None = None

    @property
    def streams(self) -> bool:
        return isinstance(self.body, dict) and bool(self.body.get("stream"))


@dataclass(frozen=True, slots=True)
class Visit:
    """One or several requests in turn: `next_turn` makes the next one of what was answered."""

    kind: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    weight: int
    outcomes: tuple[str, ...]
    make: Callable[["Mix"], Iterable[Ask]]


class Mix:
    def __init__(self, seed: int, pictures: str) -> None:
        """`pictures`: the base URL of a host that has one under every number."""
        self.rng = random.Random(seed)
        self._pictures = pictures
        self._fresh = seed * 1_000_000
        self._names = list(KINDS)
        self._weights = [kind.weight for kind in KINDS.values()]

    def draw(self) -> Visit:
        name = self.rng.choices(self._names, self._weights)[0]
        return Visit(name, tuple(KINDS[name].make(self)))

    def fresh(self) -> int:
        """A number that no picture had."""
        self._fresh += 1
        return self._fresh

    def known(self) -> int:
        return min(int(self.rng.paretovariate(0.8)), KNOWN)

    def picture(self, number: int) -> Part:
        return {"type": "image_url", "image_url": {"url": data_url(draw_picture(number))}}

    def linked(self, number: int | str) -> Part:
        return {"type": "image_url", "image_url": {"url": f"{self._pictures}/{number}"}}

    def chat(self, *parts: Part, **more: Any) -> dict[str, Any]:
        text = {"type": "text", "text": f"How many objects are there? {self.rng.randrange(1000)}"}
        asked = {
            "model": MODEL,
            "messages": [{"role": "user", "content": [*parts, text]}],
            "max_tokens": self.rng.choice((2, 4, 8, 12)),
            "temperature": 0,
            "ignore_eos": True,
        }
        return asked | more

    def key(self) -> str:
        return KEYS[self.rng.choice(("gallery", "shop", "nightly"))]


def streamed(mix: Mix, *parts: Part) -> Ask:
    return Ask(mix.chat(*parts, stream=True, stream_options={"include_usage": True}), mix.key())


def unique(mix: Mix) -> Iterable[Ask]:
    yield streamed(mix, mix.picture(mix.fresh()))


def repeated(mix: Mix) -> Iterable[Ask]:
    yield streamed(mix, mix.picture(mix.known()))


def whole(mix: Mix) -> Iterable[Ask]:
    yield Ask(mix.chat(mix.picture(mix.fresh() if mix.rng.random() < 0.5 else mix.known())), mix.key())


def several(mix: Mix) -> Iterable[Ask]:
    yield streamed(mix, mix.picture(mix.known()), mix.picture(mix.fresh()), mix.linked(mix.known()))


def by_url(mix: Mix) -> Iterable[Ask]:
    yield streamed(mix, mix.linked(mix.fresh() if mix.rng.random() < 0.5 else mix.known()))


def low_detail(mix: Mix) -> Iterable[Ask]:
    part = mix.picture(mix.fresh())
    part["image_url"]["detail"] = "low"
    yield streamed(mix, part)


def text(mix: Mix) -> Iterable[Ask]:
    yield streamed(mix)


def conversation(mix: Mix) -> Iterable[Ask]:
    """Three turns about one picture, all said again with each; what was answered is stood for."""
    key, first = mix.key(), mix.chat(mix.picture(mix.fresh()), stream=True)
    for turn in range(3):
        said = [{"role": "assistant", "content": "three"}, {"role": "user", "content": f"And in the {turn}th row?"}]
        messages = [*first["messages"], *said * turn]
        yield Ask(first | {"messages": messages}, key)


def leaving(mix: Mix) -> Iterable[Ask]:
    asked = mix.chat(mix.picture(mix.fresh()), stream=True, max_tokens=64)
    yield Ask(asked, mix.key(), leave_after=mix.rng.choice((0, 1, 3)))


def broken_picture(mix: Mix) -> Iterable[Ask]:
    data = draw_picture(mix.fresh())
    yield Ask(mix.chat({"type": "image_url", "image_url": {"url": data_url(data[: len(data) // 2])}}), mix.key())


def gone(mix: Mix) -> Iterable[Ask]:
    yield Ask(mix.chat(mix.linked("gone")), mix.key())


def wrong_json(mix: Mix) -> Iterable[Ask]:
    yield Ask(b'{"model": "soak", "messages": [{"role"', mix.key())


def unknown_key(mix: Mix) -> Iterable[Ask]:
    yield Ask(mix.chat(), f"nobody-{mix.fresh()}")


def unknown_model(mix: Mix) -> Iterable[Ask]:
    yield Ask(mix.chat(model=f"no-{mix.fresh()}"), mix.key())


def too_long(mix: Mix) -> Iterable[Ask]:
    yield Ask(mix.chat(max_tokens=1_000_000), mix.key())


def limited(mix: Mix) -> Iterable[Ask]:
    for _ in range(2):
        yield Ask(mix.chat(max_tokens=1), KEYS["small"])


def scrape(mix: Mix) -> Iterable[Ask]:
    yield Ask(None, "", "/metrics")


def models(mix: Mix) -> Iterable[Ask]:
    yield Ask(None, mix.key(), "/v1/models")


KINDS: dict[str, Kind] = {
    "stream, new picture": Kind(18, (ANSWERED,), unique),
    "stream, known picture": Kind(18, (ANSWERED,), repeated),
    "whole answer": Kind(8, (ANSWERED,), whole),
    "three pictures": Kind(4, (ANSWERED,), several),
    "picture by URL": Kind(12, (ANSWERED,), by_url),
    "low detail": Kind(4, (ANSWERED,), low_detail),
    "text": Kind(6, (ANSWERED,), text),
    "conversation": Kind(5, (ANSWERED,), conversation),
    # Who meant to leave after more than there was has been answered.
    "caller leaves": Kind(6, (LEFT, ANSWERED), leaving),
    "broken picture": Kind(3, ("invalid_image",), broken_picture),
    "picture that is gone": Kind(2, ("image_fetch_failed",), gone),
    "wrong JSON": Kind(2, ("invalid_json",), wrong_json),
    "unknown key": Kind(3, ("invalid_api_key",), unknown_key),
    "unknown model": Kind(2, ("model_not_found",), unknown_model),
    "too long": Kind(2, ("context_length_exceeded", "answer_too_large"), too_long),
    "over its limit": Kind(4, (ANSWERED, "rate_limit_exceeded"), limited),
    "metrics": Kind(2, (ANSWERED,), scrape),
    "models": Kind(2, (ANSWERED,), models),
}


def draw_picture(number: int) -> bytes:
    """A PNG unlike any of another number: its number is in its first pixels."""
    side = SIDES[number % len(SIDES)]
    shade = (number * 37 % 256, number * 91 % 256, number * 17 % 256)
    picture = Image.new("RGB", (side, side), shade)
    for place in range(8):
        picture.paste(
            ((number >> 8 * place) % 256, 90, 200), (8 * place, 8 * place, 8 * place + 24, 8 * place + 16)
        )
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
