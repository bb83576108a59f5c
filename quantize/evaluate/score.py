"""Marks replies: strict about the answer, fair about its wrapping.

A reply is right when it commits to the true answer and to no other. Capitals, punctuation, Markdown, thinking
aloud before a last "Answer: ..." and number words do not matter; two different answers, or none, are wrong and
are told apart from plain mistakes.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from quantize.evaluate.drawing import Box
from quantize.evaluate.questions import SCALE, Truth

Outcome = Literal["right", "wrong", "no answer", "several answers", "refused", "cut off", "endpoint error"]
LONGEST_REPLY = 4000  # characters that are looked at
NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
).split()
SYNONYMS = {
    "disc": "circle", "disk": "circle", "dot": "circle", "rectangle": "square", "plus": "cross", "x": "cross",
    "donut": "ring", "doughnut": "ring", "annulus": "ring", "violet": "purple", "over": "above", "under": "below",
    "beneath": "below",
}  # fmt: skip
REFUSAL = re.compile(
    r"\b(i (can(no|')?t|am (not able|unable)|do(n't| not) (see|have))|i'm (sorry|unable)|sorry|as an ai)\b", re.I
)
STRAIGHT_QUOTES = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}
FINAL = re.compile(r"(?:final answer|answer)\s*(?:is|:|=)+\s*", re.I)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")


@dataclass(frozen=True, slots=True)
class Mark:
    """`error` is the character error rate of text answers; `overlap` the IoU of boxes; None for other kinds."""

    outcome: Outcome
    error: float | None = None
    overlap: float | None = None

    @property
    def right(self) -> bool:
        return self.outcome == "right"


def mark(reply: str, truth: Truth, finished: bool = True) -> Mark:
    """Mark one reply; `finished` is whether the model stopped by itself."""
    said = last_word(reply)
    found = _MARKERS[truth.kind](said, truth)
    if found.outcome == "no answer" and REFUSAL.search(reply):
        return Mark("refused", found.error, found.overlap)
    if not finished and not found.right:
        return Mark("cut off", found.error, found.overlap)
    return found


def last_word(reply: str) -> str:
    """What the reply commits to: after thinking, after "answer:", without Markdown's and LaTeX's wrapping."""
    text = unicodedata.normalize("NFKC", reply[-LONGEST_REPLY:]).translate(STRAIGHT_QUOTES)
    text = text.rpartition("</think>")[2]
    if finals := list(FINAL.finditer(text)):
        text = text[finals[-1].end() :]
    text = re.sub(r"\\(?:boxed|text)\{([^{}]*)\}", r"\1", text)
    return re.sub(r"```[a-z]*|[*`_$]", "", text).strip()


def character_error_rate(said: str, true: str) -> float:
    """Levenshtein distance over the true text's length, at most 1."""
    previous = list(range(len(true) + 1))
    for row, got in enumerate(said[: 4 * len(true) + 8], 1):
        current = [row]
        for column, wanted in enumerate(true, 1):
            current.append(
                min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + (got != wanted))
            )
        previous = current
    return min(1.0, previous[-1] / len(true))


def intersection_over_union(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def _mark_number(said: str, truth: Truth) -> Mark:
    words = re.findall(r"[a-z]+", said.lower())
    found = {float(number.replace(",", "")) for number in NUMBER.findall(said)}
    if not found:
        found = {float(NUMBER_WORDS.index(word)) for word in words if word in NUMBER_WORDS}
    return Mark(_outcome(found, float(truth.value)))


def _mark_choice(said: str, truth: Truth) -> Mark:
    """One word of each group and no other; "not red" commits to nothing."""
    words = [SYNONYMS.get(word, word) for word in re.findall(r"[a-z]+", said.lower())]
    singular = [word[:-1] if word.endswith("s") and word[:-1] in _all(truth) else word for word in words]
    outcomes: list[Outcome] = []
    for choices, true in zip(truth.choices, truth.value.split(), strict=True):
        found = {
            word
            for before, word in zip(["", *singular], singular, strict=False)
            if word in choices and before != "not"
        }
        outcomes.append(_outcome(found, true))
    return Mark(next((outcome for outcome in outcomes if outcome != "right"), "right"))


def _mark_text(said: str, truth: Truth) -> Mark:
    """Exact but for case, spaces and what surrounds it: quotes, a final stop, a currency sign."""
    plain, true = _plain(said), _plain(truth.value)
    lines = [_plain(line) for line in said.splitlines() if line.strip()]
    quoted = {_plain(part) for part in re.findall(r"[\"']([^\"']+)[\"']", said)}
    if plain == true or (len(quoted) == 1 and true in quoted):
        return Mark("right", 0.0)
    candidates = _spellings(said, truth.value)
    if len(candidates) == 1:
        (only,) = candidates
        return Mark("right" if only == true else "wrong", character_error_rate(only, true))
    error = character_error_rate(lines[-1] if lines else "", true)
    if not plain:
        return Mark("no answer", 1.0)
    return Mark("several answers" if true in candidates else "wrong", error)


def _mark_place(said: str, truth: Truth) -> Mark:
    """A point must lie in the true box; a box counts by its centre, and its overlap is reported beside it."""
    assert truth.box is not None
    wanted = 4 if truth.kind == "box" else 2
    numbers = [float(number) for number in NUMBER.findall(_without_keys(said))]
    overlap = 0.0 if truth.kind == "box" else None
    if len(numbers) < 2:
        return Mark("no answer", overlap=overlap)
    if len(numbers) not in (2, 4) or any(not 0 <= number <= SCALE for number in numbers):
        return Mark("several answers" if len(numbers) > wanted else "wrong", overlap=overlap)
    if len(numbers) == 4:
        if wanted == 4:
            left, top, right, bottom = numbers
            overlap = intersection_over_union((left, top, right, bottom), truth.box)
        x, y = (numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2
    else:
        x, y = numbers
    left, top, right, bottom = truth.box
    hit = left <= x <= right and top <= y <= bottom and len(numbers) == wanted
    return Mark("right" if hit else "wrong", overlap=overlap)


def _outcome(found: "set[float] | set[str]", true: float | str) -> Outcome:
    if not found:
        return "no answer"
    if len(found) > 1:
        return "several answers"
    return "right" if true in found else "wrong"


def _all(truth: Truth) -> frozenset[str]:
    return frozenset(word for group in truth.choices for word in group)


def _plain(text: str) -> str:
    return re.sub(r"\s+", "", text).strip("\"'.,;:!()[]$").casefold()


def _spellings(said: str, true: str) -> set[str]:
    """What in a sentence is shaped like the answer: a number, a code, a lone letter, a word in capitals."""
    if re.fullmatch(r"[\d.,]+", true):
        return {number.replace(",", "") if "," not in true else number for number in NUMBER.findall(said)}
    if re.fullmatch(r"[A-Z]+-\d+", true):
        return {_plain(word) for word in re.findall(r"\b[A-Za-z]+\s?-\s?\d+\b", said)}
    if re.fullmatch(r"[A-Z]", true):
        return {_plain(letter) for letter in re.findall(r"\b[A-Z]\b(?! [a-z])", said)}
    if re.fullmatch(r"[A-Z]{3,}", true):
        return {_plain(word) for word in re.findall(r"\b[A-Z]{3,}\b", said)}
    return set()


def _without_keys(said: str) -> str:
    """JSON keys and names such as bbox_2d, x1 are not numbers; nor is a lone scale such as 0-1000."""
    return re.sub(r"[A-Za-z]\w*|0-1000", " ", said)


_MARKERS = {
    "number": _mark_number,
    "choice": _mark_choice,
    "choices": _mark_choice,
    "text": _mark_text,
    "point": _mark_place,
    "box": _mark_place,
}
