"""Where attention is taught to look while the demo model learns: at the words, things and digits of an answer.

Left to itself, a small model that learns from few pictures finds out late where answers come from: it must ask for
the right place and read what it finds there, and neither pays without the other. So some heads of its attention are
shown where to look for each answer; what they read there they learn from the answers alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from demo.training.curriculum import DESCRIBE, Lesson
from quantize.evaluate.drawing import COLOURS, SHAPES, Thing
from quantize.evaluate.scenes import Scene

NAME = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")
ATTRIBUTE = re.compile(
    r"(?:What|Which) (?:colou?r is the (?P<shape>\w+)\?|shape is the (?P<colour>\w+) object)"
    r"|How many (?:(?P<some>\w+) objects|(?P<kind>\w+)) are"
)
EXTREMES: dict[str, Callable[[Thing], float]] = {
    "leftmost": lambda thing: thing.x,
    "rightmost": lambda thing: -thing.x,
    "topmost": lambda thing: thing.y,
    "lowest": lambda thing: -thing.y,
}


class Head(Enum):
    """(layer, head) of the attention that is taught, and from where to where it looks."""

    NAMED = (1, 0)  # from the end of a thing's name in a question to the thing
    CLUE = (1, 1)  # from an answer to the word of its question that it hangs on: a name, a colour, a row
    SECOND_CLUE = (1, 2)  # and to the column
    SEEN = (3, 0)  # from each token of an answer to what it says in the picture
    FIRST = (3, 1)  # from a comparison to the name it begins with
    COUNTED = (3, 2)  # from a number to everything counted and to the first token: its share tells how many
    SECOND = (3, 3)  # from a comparison to the other name


@dataclass(frozen=True, slots=True)
class Look:
    """From a character of the answer (of the question, for NAMED) to points of the picture or to `word`.

    In the answer it is the token *before* the one with that character that looks: the one that says it. `points`
    are pixels; none of them, where `word` is None, means the first token: there is nothing to see. `word` is a
    character of the question.
    """

    head: Head
    character: int
    points: tuple[tuple[float, float], ...] = ()
    word: int | None = None


def looks(scene: Scene, lesson: Lesson) -> list[Look]:
    """Everything that heads are taught about one lesson; nothing where its answer hangs on no one place."""
    asked, answer = lesson.asked, lesson.answer
    found: list[Look] = []
    names = list(NAME.finditer(asked))
    ends = [name.end() - 1 for name in names]
    for name in names:
        found.append(Look(Head.NAMED, name.end() - 1, _points(_named(scene, name[0])[:1])))

    def throughout(head: Head, points: tuple[tuple[float, float], ...] = (), word: int | None = None) -> None:
        found.extend(Look(head, character, points, word) for character in range(len(answer)))

    def hangs_on(word: str) -> None:
        match = re.search(rf"\b{word}\b", asked)
        assert match is not None
        throughout(Head.CLUE, word=match.end() - 1)

    if asked == DESCRIBE:
        return _described(scene, answer)
    if len(names) == 2:
        throughout(Head.FIRST, word=ends[0])
        throughout(Head.SECOND, word=ends[1])
    elif names:
        throughout(Head.CLUE, word=ends[0])
        named = _named(scene, names[0][0])
        if asked.startswith("Is there"):
            found.append(Look(Head.SEEN, 0, _points(named[:1])))
        else:
            throughout(Head.SEEN, _points(named))
    elif asked.startswith("What is in row"):
        row, column = list(re.finditer(r"\d", asked))[:2]
        throughout(Head.CLUE, word=row.start())
        throughout(Head.SECOND_CLUE, word=column.start())
        assert scene.grid is not None
        index = (int(row[0]) - 1) * scene.grid[1] + int(column[0]) - 1
        throughout(Head.SEEN, _points([scene.things[index]]))
    elif asked.startswith("What number"):
        written = next((w for w in scene.writings if f"in {w.colour}" in asked), scene.writings[0])
        if "here" not in asked:
            hangs_on(written.colour)
        found.extend(Look(Head.SEEN, k, ((x, y),)) for k, (_, x, y) in enumerate(written.characters))
        found.append(Look(Head.SEEN, len(answer)))
    elif scene.writings:
        throughout(Head.SEEN, tuple((x, y) for _, x, y in scene.writings[0].characters))
    elif extreme := re.search("|".join(EXTREMES), asked):
        hangs_on(extreme[0])
        throughout(Head.SEEN, _points([min(scene.things, key=EXTREMES[extreme[0]])]))
    elif match := ATTRIBUTE.match(asked):
        counted = match["some"] or match["kind"]
        word = counted or match["colour"] or match["shape"]
        every = word in ("objects", "shapes")
        matching = scene.things if every else [thing for thing in scene.things if _has(thing, word)]
        if not every:
            hangs_on(word)
        if counted:
            found.append(Look(Head.COUNTED, 0, _points(matching)))
        else:
            throughout(Head.SEEN, _points(matching))
    elif answer.isdigit():
        found.append(Look(Head.COUNTED, 0, _points(scene.things)))
    return found


def _described(scene: Scene, answer: str) -> list[Look]:
    rest = list(scene.things)
    found = []
    for name in NAME.finditer(answer):
        thing = next(thing for thing in rest if thing.name == name[0])
        rest.remove(thing)
        found += [Look(Head.SEEN, k, _points([thing])) for k in range(name.start(), name.end())]
    return found


def _named(scene: Scene, name: str) -> list[Thing]:
    return [thing for thing in scene.things if thing.name == name]


def _has(thing: Thing, word: str) -> bool:
    """Whether a word is its colour, its shape or its shape's plural."""
    return word in (thing.colour, thing.shape, f"{thing.shape}s", f"{thing.shape}es")


def _points(things: "list[Thing] | tuple[Thing, ...]") -> tuple[tuple[float, float], ...]:
    return tuple((thing.x, thing.y) for thing in things)
