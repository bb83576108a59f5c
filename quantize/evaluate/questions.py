"""Questions about drawn scenes, and the one right answer to each.

The wording suits any instruction-tuned vision-language model: one sentence that asks, one that fixes the
form of the reply.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Literal, get_args

from quantize.evaluate.drawing import COLOURS, SHAPES, Box, Thing
from quantize.evaluate.scenes import Scene

Skill = Literal["attribute", "count", "spatial", "grid", "ocr", "ground"]
SKILLS: tuple[Skill, ...] = get_args(Skill)
Kind = Literal["number", "choice", "choices", "text", "point", "box"]
SCALE = 1000  # coordinates of answers run from 0 to this, across and down


@dataclass(frozen=True, slots=True)
class Truth:
    """The right answer: `value` in its canonical spelling.

    `choices` are the words an answer may be made of (kinds `choice`: one of them; `choices`: one of each
    group). `box` is left, top, right, bottom on the 0-1000 scale, for the kinds `point` and `box`.
    """

    kind: Kind
    value: str
    choices: tuple[tuple[str, ...], ...] = field(default=())
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """`asked` and `form` are the two sentences of the question; `topic` says what of the skill it is about."""

    skill: Skill
    topic: str
    asked: str
    form: str
    truth: Truth

    @property
    def text(self) -> str:
        return f"{self.asked} {self.form}"


COLOUR_WORDS, SHAPE_WORDS = tuple(COLOURS), tuple(SHAPES)
ONE_NUMBER, ONE_WORD = "Reply with one number.", "Reply with one word."
COLOUR_AND_SHAPE = "Reply with colour and shape."


def ask_colour(scene: Scene, rng: random.Random) -> Question | None:
    """About a thing whose shape no other has."""
    lone = _lone(scene, "shape")
    if not lone:
        return None
    thing = rng.choice(lone)
    truth = Truth("choice", thing.colour, (COLOUR_WORDS,))
    return Question("attribute", "colour", f"What colour is the {thing.shape}?", ONE_WORD, truth)


def ask_shape(scene: Scene, rng: random.Random) -> Question | None:
    """About a thing whose colour no other has."""
    lone = _lone(scene, "colour")
    if not lone:
        return None
    thing = rng.choice(lone)
    truth = Truth("choice", thing.shape, (SHAPE_WORDS,))
    return Question("attribute", "shape", f"What shape is the {thing.colour} object?", ONE_WORD, truth)


def ask_count(scene: Scene) -> Question:
    return Question(
        "count", "all", "How many objects are there?", ONE_NUMBER, Truth("number", str(len(scene.things)))
    )


def ask_count_of(scene: Scene, rng: random.Random) -> Question:
    """How many of one colour or of one shape, mostly one that is there."""
    thing = rng.choice(scene.things)
    if rng.random() < 0.5:
        colour = thing.colour if rng.random() < 0.8 else rng.choice(COLOUR_WORDS)
        asked, count = f"How many {colour} objects are there?", sum(t.colour == colour for t in scene.things)
    else:
        shape = thing.shape if rng.random() < 0.8 else rng.choice(SHAPE_WORDS)
        asked, count = f"How many {plural(shape)} are there?", sum(t.shape == shape for t in scene.things)
    return Question("count", "some", asked, ONE_NUMBER, Truth("number", str(count)))


def ask_side(scene: Scene, rng: random.Random, margin: float = 0.08) -> Question | None:
    """Left or right, above or below: of two things that differ by at least `margin` of the picture's side."""
    named = _named(scene)
    if len(named) < 2:
        return None
    one, other = rng.sample(named, 2)
    along = (one.x - other.x) / scene.image.width
    down = (one.y - other.y) / scene.image.height
    if rng.random() < 0.5 and abs(along) >= margin:
        asked, value, words = "left or right of", "left" if along < 0 else "right", ("left", "right")
    elif abs(down) >= margin:
        asked, value, words = "above or below", "above" if down < 0 else "below", ("above", "below")
    else:
        return None
    return Question(
        "spatial",
        "side",
        f"Is the {one.name} {asked} the {other.name}?",
        ONE_WORD,
        Truth("choice", value, (words,)),
    )


def ask_extreme(scene: Scene, rng: random.Random, margin: float = 0.04) -> Question | None:
    """Which thing is furthest to one side, where it is so by at least `margin` of the picture's side."""
    if len(scene.things) < 2:
        return None
    where = rng.choice(("left", "right", "top", "bottom"))
    side = scene.image.width if where in ("left", "right") else scene.image.height
    ordered = sorted(scene.things, key=lambda t: t.x if where in ("left", "right") else t.y)
    if where in ("right", "bottom"):
        ordered.reverse()
    first, second = ordered[:2]
    gap = abs(first.x - second.x) if where in ("left", "right") else abs(first.y - second.y)
    if gap < margin * side:
        return None
    word = {"left": "leftmost", "right": "rightmost", "top": "topmost", "bottom": "lowest"}[where]
    asked = f"What is the {word} object?"
    return Question("spatial", "extreme", asked, COLOUR_AND_SHAPE, _named_truth(first))


def ask_nearest(scene: Scene, rng: random.Random, margin: float = 0.15) -> Question | None:
    """The nearest neighbour of a named thing, nearer by `margin` than the next."""
    named = _named(scene)
    if not named or len(scene.things) < 3:
        return None
    thing = rng.choice(named)
    others = sorted(
        (o for o in scene.things if o is not thing), key=lambda o: math.hypot(o.x - thing.x, o.y - thing.y)
    )
    first, second = (math.hypot(o.x - thing.x, o.y - thing.y) for o in others[:2])
    if first * (1 + margin) > second:
        return None
    asked = f"Which object is closest to the {thing.name}?"
    return Question("spatial", "nearest", asked, COLOUR_AND_SHAPE, _named_truth(others[0]))


def ask_cell(scene: Scene, rng: random.Random) -> Question:
    """What is at a row and column of a grid, both counted from 1."""
    assert scene.grid is not None
    rows, columns = scene.grid
    row, column = rng.randrange(rows), rng.randrange(columns)
    asked = f"What is in row {row + 1}, column {column + 1}?"
    if scene.things:
        thing = scene.things[row * columns + column]
        return Question("grid", "shapes", asked, COLOUR_AND_SHAPE, _named_truth(thing))
    text = scene.writings[row * columns + column].text
    form, topic = (ONE_NUMBER, "numbers") if text.isdigit() else ("Reply with one letter.", "letters")
    return Question("grid", topic, asked, form, Truth("number" if text.isdigit() else "text", text))


def ask_point(scene: Scene, rng: random.Random) -> Question | None:
    """A point on a named thing."""
    named = _named(scene)
    if not named:
        return None
    thing = rng.choice(named)
    left, top, right, bottom = scaled_box(scene, thing)
    value = f"[{tens((left + right) / 2)}, {tens((top + bottom) / 2)}]"
    truth = Truth("point", value, box=(left, top, right, bottom))
    form = f"Reply with [x, y], scaled to 0-{SCALE}."
    return Question("ground", "point", f"Point to the {thing.name}.", form, truth)


def ask_box(scene: Scene, rng: random.Random) -> Question | None:
    """The bounding box of a named thing."""
    named = _named(scene)
    if not named:
        return None
    thing = rng.choice(named)
    box = scaled_box(scene, thing)
    value = f"[{', '.join(str(tens(edge)) for edge in box)}]"
    form = f"Reply with its box [x1, y1, x2, y2], scaled to 0-{SCALE}."
    return Question("ground", "box", f"Where is the {thing.name}?", form, Truth("box", value, box=box))


def ask_number(scene: Scene) -> Question:
    """The only number of a picture."""
    (written,) = scene.writings
    asked = "What number is written here?"
    return Question("ocr", "number", asked, "Reply with the digits only.", Truth("text", written.text))


def ask_number_in(scene: Scene, rng: random.Random) -> Question:
    """One of several numbers, by its colour."""
    written = rng.choice(scene.writings)
    asked = f"What number is written in {written.colour}?"
    return Question("ocr", "number", asked, "Reply with the digits only.", Truth("text", written.text))


def ask_sign(scene: Scene) -> Question:
    (written,) = scene.writings
    asked = "What is written here?"
    return Question("ocr", "sign", asked, "Reply with the text only.", Truth("text", written.text))


def ask_price(scene: Scene, rng: random.Random) -> Question:
    """One price of a receipt whose writings alternate name and price."""
    index = 2 * rng.randrange(len(scene.writings) // 2)
    goods, price = scene.writings[index].text, scene.writings[index + 1].text
    asked = f"What is the price of {goods} on this receipt?"
    return Question("ocr", "receipt", asked, "Reply with the amount only.", Truth("text", price))


def scaled_box(scene: Scene, thing: Thing) -> Box:
    """The thing's box on the 0-1000 scale of answers."""
    left, top, right, bottom = thing.box
    across, down = SCALE / scene.image.width, SCALE / scene.image.height
    return (left * across, top * down, right * across, bottom * down)


def tens(value: float) -> int:
    """Rounded to tens within the scale: the spelling of the canonical answer, which no mark depends on."""
    return min(SCALE, max(0, 10 * round(value / 10)))


def plural(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"


def _named(scene: Scene) -> list[Thing]:
    """Things that their colour and shape name without doubt."""
    names = [thing.name for thing in scene.things]
    return [thing for thing in scene.things if names.count(thing.name) == 1]


def _lone(scene: Scene, attribute: str) -> list[Thing]:
    values = [getattr(thing, attribute) for thing in scene.things]
    return [thing for thing in scene.things if values.count(getattr(thing, attribute)) == 1]


def _named_truth(thing: Thing) -> Truth:
    return Truth("choices", thing.name, (COLOUR_WORDS, SHAPE_WORDS))
