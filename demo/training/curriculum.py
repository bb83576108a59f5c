"""What the demo model is asked while it learns: the suite's easy questions, variously worded, and a few more."""

import random
from dataclasses import dataclass

from quantize.evaluate import questions as suite
from quantize.evaluate import scenes
from quantize.evaluate.drawing import COLOURS, SHAPES
from quantize.evaluate.questions import Question
from quantize.evaluate.scenes import Scene

DESCRIBE = "What is in this picture?"


@dataclass(frozen=True, slots=True)
class Lesson:
    """One question and its answer, word for word."""

    asked: str
    answer: str


def draw_lesson_scene(rng: random.Random, size: tuple[int, int]) -> Scene:
    """Half scattered things, a fifth grids, the rest numbers."""
    kind = rng.random()
    if kind < 0.5:
        return scenes.draw_scattered(rng, size=size, distinct=rng.random() < 0.5)
    if kind < 0.7:
        return scenes.draw_grid(rng, size=size)
    return scenes.draw_number(rng, size=size, count=rng.randint(1, 3))


def lessons(scene: Scene, rng: random.Random, most: int) -> list[Lesson]:
    """Up to `most` lessons in random order, and sometimes a description: last, so that it gives nothing away."""
    if scene.writings:
        taught = _about_numbers(scene, rng)
    elif scene.grid:
        taught = _about_grid(scene, rng)
    else:
        taught = _about_things(scene, rng)
    unique = list({lesson.asked: lesson for lesson in taught}.values())
    rng.shuffle(unique)
    chosen = unique[:most]
    if rng.random() < 0.3:
        chosen.append(Lesson(DESCRIBE, describe(scene)))
    return chosen


def describe(scene: Scene) -> str:
    """The scene as the demo model says it: a count, then what there is from left to right, or in reading order."""
    if scene.writings:
        noun, names = "number", [f"{written.colour} {written.text}" for written in scene.writings]
    else:
        noun, names = "object", [thing.name for thing in scene.things]
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''}: {', '.join(names)}"


def _about_things(scene: Scene, rng: random.Random) -> list[Lesson]:
    asked = [suite.ask_count(scene), suite.ask_count_of(scene, rng), suite.ask_count_of(scene, rng)]
    asked += _given(suite.ask_colour(scene, rng), suite.ask_shape(scene, rng))
    asked += _given(*(suite.ask_side(scene, rng) for _ in range(3)))
    asked += _given(suite.ask_extreme(scene, rng), suite.ask_point(scene, rng), suite.ask_box(scene, rng))
    taught = [_worded(question, rng) for question in asked]
    taught.append(_existence(scene, rng))
    if rng.random() < 0.15:
        taught.append(Lesson("Count the objects. Answer in JSON.", f'{{"count": {len(scene.things)}}}'))
    return taught


def _about_grid(scene: Scene, rng: random.Random) -> list[Lesson]:
    asked = [suite.ask_cell(scene, rng) for _ in range(8)]
    asked += [suite.ask_count_of(scene, rng)]
    asked += _given(suite.ask_colour(scene, rng), suite.ask_shape(scene, rng))
    return [_worded(question, rng) for question in asked]


def _about_numbers(scene: Scene, rng: random.Random) -> list[Lesson]:
    if len(scene.writings) > 1:
        asked = [suite.ask_number_in(scene, rng) for _ in range(5)]
        return [_worded(question, rng) for question in asked]
    (written,) = scene.writings
    return [_worded(suite.ask_number(scene), rng), Lesson("What colour is the number?", written.colour)]


def _given(*questions: Question | None) -> list[Question]:
    return [question for question in questions if question is not None]


def _worded(question: Question, rng: random.Random) -> Lesson:
    """As the suite asks it half of the time; otherwise shorter, or in other words."""
    if rng.random() < 0.5:
        return Lesson(question.text, question.truth.value)
    asked = question.asked
    if question.skill == "attribute" and rng.random() < 0.4:
        asked = asked.replace("What colour", rng.choice(["What color", "Which colour", "Which color"]))
        asked = asked.replace("What shape", "Which shape")
    elif question.topic == "all" and rng.random() < 0.4:
        asked = rng.choice(
            ["How many shapes are there?", "How many objects are in this picture?", "Count the objects."]
        )
    return Lesson(asked, question.truth.value)


def _existence(scene: Scene, rng: random.Random) -> Lesson:
    names = {thing.name for thing in scene.things}
    if rng.random() < 0.5:
        name = rng.choice(scene.things).name
    else:
        name = f"{rng.choice(list(COLOURS))} {rng.choice(SHAPES)}"
    article = "an" if name[0] in "aeio" else "a"
    return Lesson(f"Is there {article} {name}?", "yes" if name in names else "no")
