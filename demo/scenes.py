"""Procedurally drawn scenes of coloured shapes, and questions about them with exact answers.

Training, the held-out check and the end-to-end tests all draw from here; they differ in seeds only.
"""

import io
import math
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (245, 140, 24),
    "yellow": (246, 219, 40),
    "green": (34, 150, 62),
    "blue": (36, 82, 206),
    "purple": (134, 48, 160),
    "black": (22, 22, 26),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
MOST_OBJECTS = 6
SKILLS = ("colour", "shape", "count")


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawn object; `x`, `y` and `radius` are pixels of the scene."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture (RGB) and what is in it. `things` are ordered from left to right."""

    image: Image.Image
    things: tuple[Thing, ...]


@dataclass(frozen=True, slots=True)
class Question:
    skill: str
    text: str
    answer: str


def draw_scene(
    rng: random.Random,
    size: tuple[int, int] | None = None,
    photo: bool | None = None,
    count: int | None = None,
) -> Scene:
    """Draw one scene of 1-6 things that do not touch, 96-512 px a side unless `size` says otherwise."""
    width, height = size or random_size(rng)
    photo = rng.random() < 0.5 if photo is None else photo
    things = _place_things(rng, width, height, count or rng.randint(1, MOST_OBJECTS))
    image = _background(rng, width, height, photo)
    if photo:
        _drop_shadows(image, things, rng)
    _draw_things(image, things, rng)
    if photo:
        image = _like_a_photo(image, rng)
    return Scene(image, things)


def random_size(rng: random.Random, most: int = 512) -> tuple[int, int]:
    """Sides of 96 to `most` px, log-uniform area, aspect up to 2."""
    side = math.exp(rng.uniform(math.log(96), math.log(most)))
    aspect = 2 ** rng.uniform(-1, 1) if rng.random() < 0.6 else 1.0
    width, height = side * math.sqrt(aspect), side / math.sqrt(aspect)
    return (min(most, max(96, round(width))), min(most, max(96, round(height))))


def compress(image: Image.Image, rng: random.Random) -> tuple[bytes, str]:
    """Encode as PNG or JPEG (quality 40-95). Returns the bytes and their media type."""
    buffer = io.BytesIO()
    if rng.random() < 0.5:
        image.save(buffer, "PNG")
        return buffer.getvalue(), "image/png"
    image.save(buffer, "JPEG", quality=rng.randint(40, 95))
    return buffer.getvalue(), "image/jpeg"


def add_noise(image: Image.Image, rng: random.Random, sigma: float) -> Image.Image:
    """Gaussian noise of `sigma` grey levels, cut from a fixed field at a random offset."""
    width, height = image.size
    field = _noise_field()
    left, top = rng.randrange(field.shape[1] - width), rng.randrange(field.shape[0] - height)
    noise = field[top : top + height, left : left + width]
    pixels = np.asarray(image, dtype=np.float32) + noise * sigma
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def skill_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """At most one question for each measured skill, in its plainest wording."""
    asked = [Question("count", "How many objects are there?", str(len(scene.things)))]
    shapes, colours = _tally(scene, "shape"), _tally(scene, "colour")
    lone_shapes = [thing for thing in scene.things if shapes[thing.shape] == 1]
    lone_colours = [thing for thing in scene.things if colours[thing.colour] == 1]
    if lone_shapes:
        thing = rng.choice(lone_shapes)
        asked.append(Question("colour", f"What colour is the {thing.shape}?", thing.colour))
    if lone_colours:
        thing = rng.choice(lone_colours)
        asked.append(Question("shape", f"What shape is the {thing.colour} object?", thing.shape))
    return asked


def training_questions(scene: Scene, rng: random.Random, most: int) -> list[Question]:
    """Up to `most` questions in shuffled order: the skills in several wordings, and easier relatives."""
    asked = [_reworded(question, rng) for question in skill_questions(scene, rng)]
    asked += [_reworded(q, rng) for q in skill_questions(scene, rng) if q.skill != "count"]
    shapes, colours = _tally(scene, "shape"), _tally(scene, "colour")
    shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
    asked.append(Question("count", f"How many {_plural(shape)} are there?", str(shapes.get(shape, 0))))
    asked.append(Question("count", f"How many {colour} objects are there?", str(colours.get(colour, 0))))
    asked.append(_existence(scene, rng))
    asked.append(Question("list", "What is in this picture?", describe(scene)))
    if rng.random() < 0.3:
        asked.append(Question("json", "Count the objects. Answer in JSON.", f'{{"count": {len(scene.things)}}}'))
    unique = list({question.text: question for question in asked}.values())
    rng.shuffle(unique)
    return unique[:most]


def describe(scene: Scene) -> str:
    """The scene as the demo model says it: a count, then the things from left to right."""
    noun = "object" if len(scene.things) == 1 else "objects"
    return f"{len(scene.things)} {noun}: " + ", ".join(thing.name for thing in scene.things)


def _reworded(question: Question, rng: random.Random) -> Question:
    text = question.text
    if question.skill == "colour" and rng.random() < 0.4:
        text = text.replace("What colour", rng.choice(["What color", "Which colour", "Which color"]))
    elif question.skill == "shape" and rng.random() < 0.4:
        text = text.replace("What shape", "Which shape")
    elif question.skill == "count" and rng.random() < 0.4:
        text = rng.choice(
            ["How many shapes are there?", "How many objects are in this picture?", "Count the objects."]
        )
    return Question(question.skill, text, question.answer)


def _existence(scene: Scene, rng: random.Random) -> Question:
    names = {thing.name for thing in scene.things}
    if rng.random() < 0.5:
        name = rng.choice(scene.things).name
    else:
        name = f"{rng.choice(list(COLOURS))} {rng.choice(SHAPES)}"
    article = "an" if name[0] in "aeio" else "a"
    return Question("exists", f"Is there {article} {name}?", "yes" if name in names else "no")


def _tally(scene: Scene, attribute: str) -> dict[str, int]:
    tally: dict[str, int] = {}
    for thing in scene.things:
        value = getattr(thing, attribute)
        tally[value] = tally.get(value, 0) + 1
    return tally


def _plural(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"


def _place_things(rng: random.Random, width: int, height: int, count: int) -> tuple[Thing, ...]:
    """Rejection sampling; things shrink a little whenever the picture looks full."""
    scale = math.sqrt(width * height)
    placed: list[Thing] = []
    largest, tries = 0.15, 0
    while len(placed) < count:
        tries += 1
        if tries % 60 == 0:
            largest = max(0.085, largest * 0.93)
        if tries > 3000:
            placed, tries, largest = [], 0, 0.09
        radius = rng.uniform(0.08, largest) * scale
        edge = radius * 1.08
        x, y = rng.uniform(edge, width - edge), rng.uniform(edge, height - edge)
        gap = 0.03 * scale
        if all(math.hypot(x - o.x, y - o.y) > radius + o.radius + gap for o in placed):
            colour, shape = rng.choice(list(COLOURS)), rng.choice(SHAPES)
            placed.append(Thing(shape, colour, x, y, radius, rng.uniform(-0.3, 0.3)))
    return tuple(sorted(placed, key=lambda thing: thing.x))


def _background(rng: random.Random, width: int, height: int, photo: bool) -> Image.Image:
    base = np.array([rng.randint(150, 245)] * 3) + np.array([rng.randint(-22, 22) for _ in range(3)])
    if not photo:
        return Image.new("RGB", (width, height), tuple(int(v) for v in base.clip(0, 255)))
    coarse = np.asarray(base, dtype=np.float32) + _noise_field()[: rng.randint(2, 12), : rng.randint(2, 12)] * 14
    small = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _drop_shadows(image: Image.Image, things: tuple[Thing, ...], rng: random.Random) -> None:
    dx, dy = rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.25)
    mask = Image.new("L", image.size, 0)
    brush = ImageDraw.Draw(mask)
    for thing in things:
        moved = Thing(
            thing.shape,
            thing.colour,
            thing.x + dx * thing.radius,
            thing.y + dy * thing.radius,
            thing.radius,
            0,
        )
        _draw_shape(brush, moved, 110, 1, 110)
    mask = mask.filter(ImageFilter.BoxBlur(max(1.0, things[0].radius * 0.15)))
    image.paste((40, 36, 34), mask=mask)


def _draw_things(image: Image.Image, things: tuple[Thing, ...], rng: random.Random) -> None:
    """Each thing is drawn at twice its size and reduced, for smooth edges."""
    for thing in things:
        reach = math.ceil(thing.radius * 1.15) + 1
        left, top = round(thing.x) - reach, round(thing.y) - reach
        mask = Image.new("L", (4 * reach, 4 * reach), 0)
        local = Thing(thing.shape, "", thing.x - left, thing.y - top, thing.radius, thing.angle)
        _draw_shape(ImageDraw.Draw(mask), local, 255, 2, 0)
        jitter = tuple(min(255, max(0, c + rng.randint(-14, 14))) for c in COLOURS[thing.colour])
        image.paste(jitter, (left, top), mask.reduce(2))


def _draw_shape(brush: ImageDraw.ImageDraw, thing: Thing, fill: int, scale: int, hole: int) -> None:
    x, y, r = thing.x * scale, thing.y * scale, thing.radius * scale
    if thing.shape == "circle":
        brush.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif thing.shape == "ring":
        brush.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        inner = r * 0.55
        brush.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0 if hole == 0 else hole)
    else:
        brush.polygon([(x + px * r, y + py * r) for px, py in _outline(thing.shape, thing.angle)], fill=fill)


def _outline(shape: str, angle: float) -> list[tuple[float, float]]:
    """Corners on (or within) the unit circle, turned by `angle` radians."""
    if shape == "square":
        polar = [(1.0, math.pi / 4 + k * math.pi / 2) for k in range(4)]
    elif shape == "triangle":
        polar = [(1.08, -math.pi / 2 + k * 2 * math.pi / 3) for k in range(3)]
    elif shape == "star":
        polar = [(1.08 if k % 2 == 0 else 0.45, -math.pi / 2 + k * math.pi / 5) for k in range(10)]
    else:
        a, b = 1.0, 0.33
        corners = [(b, a), (b, b), (a, b), (a, -b), (b, -b), (b, -a)]
        corners += [(-x, -y) for x, y in corners]
        polar = [(math.hypot(x, y), math.atan2(y, x)) for x, y in corners]
    return [(radius * math.cos(t + angle), radius * math.sin(t + angle)) for radius, t in polar]


def _like_a_photo(image: Image.Image, rng: random.Random) -> Image.Image:
    """Uneven light, slight blur and sensor noise."""
    width, height = image.size
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.6) * min(width, height) / 128))
    across = np.linspace(rng.uniform(0.78, 1.1), rng.uniform(0.78, 1.1), width, dtype=np.float32)
    down = np.linspace(rng.uniform(0.85, 1.1), rng.uniform(0.85, 1.1), height, dtype=np.float32)
    light = down[:, None, None] * across[None, :, None]
    lit = np.asarray(image, dtype=np.float32) * light
    return add_noise(Image.fromarray(lit.clip(0, 255).astype(np.uint8)), rng, rng.uniform(1, 9))


@cache
def _noise_field() -> np.ndarray:
    """A fixed field of standard-normal noise, float32 [640, 640, 3]: sampling it afresh would dominate."""
    return np.random.default_rng(20261121).standard_normal((640, 640, 3), dtype=np.float32)
