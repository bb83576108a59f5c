"""The tokens that /v1/estimate tells beforehand are those that real vLLM counts afterwards: of pictures exactly, of
text nearly, once some of its kind has been counted.
"""

import random
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.conftest import Stack
from tests.fakes.gateway import gateway
from tests.pictures import data_url, picture

SIZES = ((64, 48), (448, 448), (640, 480), (900, 150), (150, 900), (33, 500))


def body_of(model: str, text: str, sizes: tuple[tuple[int, int], ...] = ()) -> dict[str, Any]:
    urls = [data_url(picture("PNG", size=size)) for size in sizes]
    content = [{"type": "image_url", "image_url": {"url": url}} for url in urls] + [{"type": "text", "text": text}]
    return {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}


@pytest.fixture
def http(fp8: Stack) -> Any:
    with httpx2.Client(base_url=fp8.url, timeout=120) as client:
        yield client


ASKED = (
    "How many {0} {1}s are there?",
    "What is to the left of the {0} {1}?",
    "Is there a {0} {1} in the picture?",
    "Which colour has the {1} in the middle?",
    "Point at the {0} {1}.",
    "Name every {1} that is not {0}, from left to right.",
    "Is the {0} {1} above or below the others?",
    "Read the number in the {0} {1}.",
)
# Of one kind, so that what is learned of some holds for others; the first half is what is learned from.
SAID = (
    "The camera above the second belt sends a picture every four seconds.",
    "Most of the labels are printed well, but some of them have been torn.",
    "When the light is poor, the edges of the boxes are hard to make out.",
    "Please look at the picture and say whether anything lies on the floor.",
    "The parts on the left belong to the order that was sent this morning.",
    "Nobody has moved the pallets since the last inspection of the hall.",
    "A scratch that is shorter than a finger does not have to be reported.",
    "Write one sentence for each thing that is not where it should be.",
    "The door at the end of the corridor should be closed during the night.",
    "Two of the lamps near the window have not been working for a week.",
    "If the seal is broken, the box goes back to the table by the wall.",
    "There should be twelve bottles in each crate, and a paper on top of them.",
    "Compare what you see with the list that came with the last delivery.",
    "The numbers on the side of the tank were painted over in the spring.",
    "Say how sure you are, and what in the picture makes you think so.",
    "Small stains on the cloth are fine, but holes and loose threads are not.",
)
COLOURS, SHAPES = ("red", "green", "blue", "yellow"), ("circle", "square", "triangle", "star")


def questions(number: int) -> str:
    rng = random.Random(number)
    return " ".join(
        asked.format(rng.choice(COLOURS), rng.choice(SHAPES)) for asked in rng.sample(ASKED, rng.randint(2, 6))
    )


def prose(number: int) -> str:
    """Of sentences that those of the other half of the numbers have not."""
    rng, half = random.Random(number), len(SAID) // 2
    return " ".join(rng.sample(SAID[:half] if number < TAUGHT else SAID[half:], rng.randint(2, 6)))


def chat(model: str, text: str, sizes: tuple[tuple[int, int], ...] = ()) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", body_of(model, text, sizes)


def conversation(model: str, text: str) -> tuple[str, dict[str, Any]]:
    """Its words in seven messages."""
    words, roles = text.split(), ("system", *("user", "assistant") * 2, "user", "user")
    parts = [" ".join(words[number :: len(roles)]) or "Go on." for number in range(len(roles))]
    messages = [{"role": role, "content": part} for role, part in zip(roles, parts, strict=True)]
    return "/v1/chat/completions", {"model": model, "max_tokens": 1, "messages": messages}


def completion(model: str, text: str) -> tuple[str, dict[str, Any]]:
    return "/v1/completions", {"model": model, "max_tokens": 1, "prompt": text}


Make = Callable[[str, str], tuple[str, dict[str, Any]]]
TAUGHT, ASKED_AFTER = 8, 12


# The demo's small vocabulary has whole phrases of such questions, so that their bytes say less of their tokens.
@pytest.mark.parametrize(("write", "most_off", "together"), [(prose, 12, 0.05), (questions, 16, 0.1)])
@pytest.mark.parametrize(
    ("taught_by", "asked_as"),
    [(chat, chat), (completion, completion), (chat, conversation), (completion, chat)],
)
def test_text_of_a_kind_that_has_been_counted_is_estimated_within_a_tenth_or_some_tokens(
    fp8: Stack, write: Callable[[int], str], most_off: int, together: float, taught_by: Make, asked_as: Make
) -> None:
    with gateway(fp8.engine) as url, httpx2.Client(base_url=url, timeout=120) as http:
        for number in range(TAUGHT):
            count(http, *taught_by(fp8.model, write(number)))
        found = []
        for number in range(TAUGHT, TAUGHT + ASKED_AFTER):
            path, body = asked_as(fp8.model, write(number))
            found.append((told(http, body)["prompt_tokens"], count(http, path, body)))
        assert told(http, body)["text"]["calibrated_by"] == TAUGHT + ASKED_AFTER
    off = [
        (estimate, counted) for estimate, counted in found if abs(estimate - counted) > max(most_off, counted / 10)
    ]
    assert off == []
    estimates, counts = (sum(each) for each in zip(*found, strict=True))
    assert abs(estimates - counts) <= together * counts


def told(http: httpx2.Client, body: dict[str, Any]) -> Any:
    answer = http.post("/v1/estimate", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def count(http: httpx2.Client, path: str, body: dict[str, Any]) -> int:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    tokens: int = answer.json()["usage"]["prompt_tokens"]
    return tokens


@pytest.mark.parametrize("sizes", [*((size,) for size in SIZES), SIZES[:3]])
def test_the_tokens_of_pictures_are_exact(
    http: httpx2.Client, fp8: Stack, sizes: tuple[tuple[int, int], ...]
) -> None:
    estimate = told(http, body_of(fp8.model, "Hi", sizes))
    with_pictures, without = (count(http, *chat(fp8.model, "Hi", some)) for some in (sizes, ()))
    assert estimate["image_tokens"] == with_pictures - without
    assert estimate["complete"]
