"""Pictures composed with known content: scattered shapes, grids, and writing, at three difficulties.

Everything is drawn from a `random.Random`, so a seed names a picture for good.
"""

import math
import random
from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image, ImageDraw

from quantize.evaluate.drawing import (
    COLOURS,
    SHAPES,
    Thing,
    Writing,
    draw_background,
    draw_shadows,
    draw_things,
    like_a_photo,
    write,
    writing_width,
)

Level = Literal["easy", "medium", "hard"]
LEVELS: tuple[Level, ...] = get_args(Level)
NAMES = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
INKS = ("red", "green", "blue", "purple", "black")  # what is legible on a light ground
SIDES: dict[Level, tuple[int, int]] = {"easy": (96, 512), "medium": (256, 768), "hard": (448, 1024)}
COUNTS: dict[Level, tuple[int, int]] = {"easy": (1, 6), "medium": (7, 12), "hard": (13, 22)}
# Of the square root of the picture's area.
RADII: dict[Level, tuple[float, float]] = {"easy": (0.08, 0.15), "medium": (0.05, 0.085), "hard": (0.03, 0.05)}
GRIDS: dict[Level, tuple[int, int]] = {"easy": (2, 4), "medium": (5, 6), "hard": (7, 9)}
WORDS = (
    "ACCESS ANCHOR BATTERY BRIDGE CAMERA CANDLE CARBON COFFEE COPPER DANGER DINNER ENGINE EXIT FILTER FORMAT "
    "GARDEN GLASS HARBOR HEATER ISLAND JACKET KITCHEN LADDER LEMON MARBLE METAL MIRROR NUMBER OFFICE ORANGE "
    "PAPER PEPPER PLANET POWER QUARTZ RADIO RESET RIVER SAFETY SILVER SOCKET STATION SWITCH TICKET TUNNEL "
    "VALVE VELVET WATER WINDOW YELLOW ZIPPER"
).split()
GOODS = (
    "Apples Bananas Bread Butter Cheese Coffee Cream Eggs Flour Honey Juice Milk Pasta Rice Salt Sugar Tea".split()
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture (RGB) and what is in it: things left to right, or row by row in a grid of `grid` rows, columns."""

    image: Image.Image
    things: tuple[Thing, ...] = ()
    writings: tuple[Writing, ...] = ()
    grid: tuple[int, int] | None = None


def random_size(rng: random.Random, sides: tuple[int, int] = SIDES["easy"]) -> tuple[int, int]:
    """(width, height) with sides in this range (px), log-uniform area, aspect up to 2."""
    least, most = sides
    side = math.exp(rng.uniform(math.log(least), math.log(most)))
    aspect = 2 ** rng.uniform(-1, 1) if rng.random() < 0.6 else 1.0
    width, height = side * math.sqrt(aspect), side / math.sqrt(aspect)
    return (min(most, max(least, round(width))), min(most, max(least, round(height))))


def draw_scattered(
    rng: random.Random,
    level: Level = "easy",
    size: tuple[int, int] | None = None,
    photo: bool | None = None,
    count: int | None = None,
    distinct: bool = False,
) -> Scene:
    """Things that do not touch, anywhere; `distinct`: no two of the same colour and shape."""
    width, height = size or random_size(rng, SIDES[level])
    photo = rng.random() < 0.5 if photo is None else photo
    count = count or rng.randint(*COUNTS[level])
    names = rng.sample(NAMES, count) if distinct else [rng.choice(NAMES) for _ in range(count)]
    things = _scatter(rng, width, height, names, RADII[level])
    return Scene(_paint(rng, (width, height), things, photo), things)


def draw_grid(
    rng: random.Random,
    level: Level = "easy",
    size: tuple[int, int] | None = None,
    photo: bool | None = None,
) -> Scene:
    """A filled grid: shapes (easy), shapes or letters (medium), letters or two-digit numbers (hard)."""
    width, height = size or random_size(rng, SIDES[level])
    photo = rng.random() < 0.5 if photo is None else photo
    least, most = GRIDS[level]
    rows, columns = rng.randint(least, most), rng.randint(least, most)
    if level == "easy" or (level == "medium" and rng.random() < 0.5):
        return _grid_of_things(rng, (width, height), (rows, columns), photo)
    return _grid_of_writing(rng, (width, height), (rows, columns), photo, level)


def draw_number(
    rng: random.Random, size: tuple[int, int] | None = None, photo: bool | None = None, count: int = 1
) -> Scene:
    """Numbers of 1-4 digits, large, each in its own colour, `count` of them below each other."""
    width, height = size or random_size(rng, SIDES["easy"])
    photo = rng.random() < 0.5 if photo is None else photo
    image = draw_background(rng, width, height, photo)
    writings = []
    for index, colour in enumerate(rng.sample(INKS, count)):
        digits = rng.randint(1, 4)
        text = str(rng.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1))
        writings.append(_write_in_band(image, text, colour, rng, index, count))
    if photo:
        image = like_a_photo(image, rng)
    return Scene(image, writings=tuple(writings))


def draw_sign(rng: random.Random) -> Scene:
    """One word or code of 4-8 characters, of middling size."""
    width, height = random_size(rng, SIDES["medium"])
    image = draw_background(rng, width, height, photo=True)
    text = rng.choice(WORDS) if rng.random() < 0.5 else random_code(rng)
    tall = rng.uniform(0.05, 0.11) * math.sqrt(width * height)
    tall = min(tall, tall * 0.85 * width / writing_width(text, tall))
    across = writing_width(text, tall) / 2 + tall
    x, y = rng.uniform(across, max(across, width - across)), rng.uniform(tall, height - tall)
    written = write(image, text, (x, y), tall, rng.choice(INKS), rng, rng.uniform(-8, 8), rng.uniform(0.7, 1.0))
    return Scene(like_a_photo(image, rng), writings=(written,))


def random_code(rng: random.Random) -> str:
    """Two letters and four digits, without the pairs that look alike (I/1, O/0)."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(2))
    return f"{letters}-{rng.randint(1000, 9999)}"


def draw_receipt(rng: random.Random) -> Scene:
    """Lines of goods and prices, small, in pale ink; `writings` alternate: name, price, name, price, ..."""
    width, height = rng.randint(360, 560), rng.randint(560, 900)
    image = Image.new("RGB", (width, height), (rng.randint(225, 250),) * 3)
    goods = rng.sample(GOODS, rng.randint(6, 11))
    tall, ink = height * rng.uniform(0.014, 0.022), rng.uniform(0.4, 0.9)
    writings: list[Writing] = []
    for index, name in enumerate(goods):
        y = height * (0.12 + 0.8 * index / len(goods))
        price = f"{rng.randint(0, 99)}.{rng.randint(0, 99):02}"
        for text, edge, side in ((name, 0.08, 1), (price, 0.92, -1)):
            x = width * edge + side * writing_width(text, tall) / 2
            writings.append(write(image, text, (x, y), tall, "black", rng, 0, ink))
    return Scene(like_a_photo(image, rng), writings=tuple(writings))


def _paint(rng: random.Random, size: tuple[int, int], things: tuple[Thing, ...], photo: bool) -> Image.Image:
    image = draw_background(rng, *size, photo)
    if photo:
        draw_shadows(image, things, rng)
    draw_things(image, things, rng)
    return like_a_photo(image, rng) if photo else image


def _scatter(
    rng: random.Random, width: int, height: int, names: list[tuple[str, str]], radii: tuple[float, float]
) -> tuple[Thing, ...]:
    """Rejection sampling; things shrink a little whenever the picture looks full."""
    scale = math.sqrt(width * height)
    least, largest = radii
    placed: list[Thing] = []
    tries = 0
    while len(placed) < len(names):
        tries += 1
        if tries % 60 == 0:
            largest = max(least * 1.06, largest * 0.93)
        if tries > 3000:
            placed, tries, largest = [], 0, least * 1.12
        radius = rng.uniform(least, largest) * scale
        edge = radius * 1.08
        x, y = rng.uniform(edge, width - edge), rng.uniform(edge, height - edge)
        gap = least * 0.375 * scale
        if all(math.hypot(x - o.x, y - o.y) > radius + o.radius + gap for o in placed):
            colour, shape = names[len(placed)]
            placed.append(Thing(shape, colour, x, y, radius, rng.uniform(-0.3, 0.3)))
    return tuple(sorted(placed, key=lambda thing: thing.x))


def _grid_of_things(rng: random.Random, size: tuple[int, int], grid: tuple[int, int], photo: bool) -> Scene:
    width, height = size
    rows, columns = grid
    cell = min(width / columns, height / rows)
    things = []
    for row in range(rows):
        for column in range(columns):
            colour, shape = rng.choice(NAMES)
            x, y = (
                (column + rng.uniform(0.45, 0.55)) * width / columns,
                (row + rng.uniform(0.45, 0.55)) * height / rows,
            )
            things.append(Thing(shape, colour, x, y, rng.uniform(0.3, 0.4) * cell, rng.uniform(-0.2, 0.2)))
    image = draw_background(rng, width, height, photo)
    _draw_lines(image, grid, rng)
    if photo:
        draw_shadows(image, tuple(things), rng)
    draw_things(image, tuple(things), rng)
    return Scene(like_a_photo(image, rng) if photo else image, tuple(things), grid=grid)


def _grid_of_writing(
    rng: random.Random, size: tuple[int, int], grid: tuple[int, int], photo: bool, level: Level
) -> Scene:
    width, height = size
    rows, columns = grid
    image = draw_background(rng, width, height, photo)
    _draw_lines(image, grid, rng)
    numbers = level == "hard" and rng.random() < 0.5
    writings = []
    for row in range(rows):
        for column in range(columns):
            text = str(rng.randint(10, 99)) if numbers else rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ")
            centre = ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
            tall = 0.35 * min(width / columns, height / rows)
            writings.append(write(image, text, centre, tall, rng.choice(INKS), rng))
    return Scene(like_a_photo(image, rng) if photo else image, writings=tuple(writings), grid=grid)


def _draw_lines(image: Image.Image, grid: tuple[int, int], rng: random.Random) -> None:
    """The grid's lines, most of the time."""
    if rng.random() < 0.3:
        return
    brush, (rows, columns) = ImageDraw.Draw(image), grid
    shade, stroke = (rng.randint(60, 140),) * 3, max(1, round(min(image.size) / 150))
    for row in range(1, rows):
        brush.line([(0, row * image.height / rows), (image.width, row * image.height / rows)], shade, stroke)
    for column in range(1, columns):
        x = column * image.width / columns
        brush.line([(x, 0), (x, image.height)], shade, stroke)


def _write_in_band(
    image: Image.Image, text: str, colour: str, rng: random.Random, index: int, count: int
) -> Writing:
    """Somewhere in the `index`-th of `count` horizontal bands, as large as the band allows or smaller."""
    width, band = image.width, image.height / count
    tall = min(rng.uniform(0.2, 0.4) * math.sqrt(width * image.height), 0.7 * band)
    tall = min(tall, tall * 0.88 * width / writing_width(text, tall))
    across = min(width / 2, writing_width(text, tall) / 2 + 0.06 * width)
    x = rng.uniform(across, width - across)
    y = band * index + rng.uniform(0.62 * tall, band - 0.62 * tall)
    return write(image, text, (x, y), tall, colour, rng, rng.uniform(-7, 7) if count == 1 else 0)
