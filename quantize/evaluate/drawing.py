"""How the suite's pictures are painted: shapes, writing, backgrounds, and what cameras and codecs do to them."""

import io
import math
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

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
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Thing:
    """One coloured shape; `x`, `y` (centre) and `radius` are pixels, `angle` radians."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float
    angle: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> Box:
        """Left, top, right, bottom of what is drawn, pixels."""
        if self.shape in ("circle", "ring"):
            corners = [(-1.0, -1.0), (1.0, 1.0)]
        else:
            corners = outline(self.shape, self.angle)
        across, down = [x for x, _ in corners], [y for _, y in corners]
        return (
            self.x + min(across) * self.radius,
            self.y + min(down) * self.radius,
            self.x + max(across) * self.radius,
            self.y + max(down) * self.radius,
        )


@dataclass(frozen=True, slots=True)
class Writing:
    """One piece of text; `box` is pixels, `characters` are (character, x, y) by their centres."""

    text: str
    colour: str
    box: Box
    characters: tuple[tuple[str, float, float], ...]


def draw_things(image: Image.Image, things: tuple[Thing, ...], rng: random.Random) -> None:
    """Each thing is drawn at twice its size and reduced, for smooth edges."""
    for thing in things:
        reach = math.ceil(thing.radius * 1.15) + 1
        left, top = round(thing.x) - reach, round(thing.y) - reach
        mask = Image.new("L", (4 * reach, 4 * reach), 0)
        local = Thing(thing.shape, "", thing.x - left, thing.y - top, thing.radius, thing.angle)
        _draw_shape(ImageDraw.Draw(mask), local, 255, 2, 0)
        image.paste(_jittered(COLOURS[thing.colour], rng), (left, top), mask.reduce(2))


def draw_shadows(image: Image.Image, things: tuple[Thing, ...], rng: random.Random) -> None:
    dx, dy = rng.uniform(-0.25, 0.25), rng.uniform(0.05, 0.25)
    mask = Image.new("L", image.size, 0)
    brush = ImageDraw.Draw(mask)
    for thing in things:
        x, y = thing.x + dx * thing.radius, thing.y + dy * thing.radius
        _draw_shape(brush, Thing(thing.shape, thing.colour, x, y, thing.radius, 0), 110, 1, 110)
    mask = mask.filter(ImageFilter.BoxBlur(max(1.0, things[0].radius * 0.15)))
    image.paste((40, 36, 34), mask=mask)


def write(
    image: Image.Image,
    text: str,
    centre: tuple[float, float],
    height: float,
    colour: str,
    rng: random.Random,
    angle: float = 0.0,
    ink: float = 1.0,
) -> Writing:
    """Write one line; `height` of a digit in pixels, `angle` in degrees, `ink` 0-1 is how opaque it is."""
    font = _font(max(6, round(2 * height / DIGIT_HEIGHT)))
    stroke = round(rng.uniform(0, 0.09) * height)
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    width, tall = math.ceil(right - left) + 4, math.ceil(bottom - top) + 4
    mask = Image.new("L", (width, tall), 0)
    ImageDraw.Draw(mask).text((2 - left, 2 - top), text, fill=round(255 * ink), font=font, stroke_width=stroke)
    turned = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True) if angle else mask
    turned = turned.resize((math.ceil(turned.width / 2), math.ceil(turned.height / 2)), Image.Resampling.BOX)
    x, y = round(centre[0] - turned.width / 2), round(centre[1] - turned.height / 2)
    image.paste(_jittered(COLOURS[colour], rng), (x, y), turned)
    middle = (x + turned.width / 2, y + turned.height / 2)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    characters = []
    for index, character in enumerate(text):
        along = font.getlength(text[:index]) + font.getlength(character) / 2
        across = (along + 2 - left - width / 2) / 2
        characters.append((character, middle[0] + across * cosine, middle[1] - across * sine))
    return Writing(text, colour, (x, y, x + turned.width, y + turned.height), tuple(characters))


def writing_width(text: str, height: float) -> float:
    """Pixels that a line takes at this digit height, unrotated."""
    return float(_font(max(6, round(2 * height / DIGIT_HEIGHT))).getlength(text)) / 2


def draw_background(rng: random.Random, width: int, height: int, photo: bool) -> Image.Image:
    base = np.array([rng.randint(150, 245)] * 3) + np.array([rng.randint(-22, 22) for _ in range(3)])
    if not photo:
        return Image.new("RGB", (width, height), tuple(int(v) for v in base.clip(0, 255)))
    coarse = np.asarray(base, dtype=np.float32) + _noise_field()[: rng.randint(2, 12), : rng.randint(2, 12)] * 14
    small = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def like_a_photo(image: Image.Image, rng: random.Random) -> Image.Image:
    """Uneven light, slight blur and sensor noise."""
    width, height = image.size
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.2, 0.6) * min(width, height) / 128))
    across = np.linspace(rng.uniform(0.78, 1.1), rng.uniform(0.78, 1.1), width, dtype=np.float32)
    down = np.linspace(rng.uniform(0.85, 1.1), rng.uniform(0.85, 1.1), height, dtype=np.float32)
    light = down[:, None, None] * across[None, :, None]
    lit = np.asarray(image, dtype=np.float32) * light
    return add_noise(Image.fromarray(lit.clip(0, 255).astype(np.uint8)), rng, rng.uniform(1, 9))


def add_noise(image: Image.Image, rng: random.Random, sigma: float) -> Image.Image:
    """Gaussian noise of `sigma` grey levels, cut from a fixed field at a random offset."""
    width, height = image.size
    field = _noise_field()
    left, top = rng.randrange(field.shape[1]), rng.randrange(field.shape[0])
    rows, columns = np.arange(top, top + height) % field.shape[0], np.arange(left, left + width) % field.shape[1]
    pixels = np.asarray(image, dtype=np.float32) + field[rows[:, None], columns] * sigma
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def compress(image: Image.Image, rng: random.Random, quality: tuple[int, int] = (40, 95)) -> tuple[bytes, str]:
    """Encode as PNG or as JPEG of a quality in this range. Returns the bytes and their media type."""
    buffer = io.BytesIO()
    if rng.random() < 0.5:
        image.save(buffer, "PNG")
        return buffer.getvalue(), "image/png"
    image.save(buffer, "JPEG", quality=rng.randint(*quality))
    return buffer.getvalue(), "image/jpeg"


def outline(shape: str, angle: float) -> list[tuple[float, float]]:
    """Corners on (or close to) the unit circle, turned by `angle` radians."""
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


def _draw_shape(brush: ImageDraw.ImageDraw, thing: Thing, fill: int, scale: int, hole: int) -> None:
    x, y, r = thing.x * scale, thing.y * scale, thing.radius * scale
    if thing.shape == "circle":
        brush.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif thing.shape == "ring":
        brush.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        inner = r * 0.55
        brush.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0 if hole == 0 else hole)
    else:
        brush.polygon([(x + px * r, y + py * r) for px, py in outline(thing.shape, thing.angle)], fill=fill)


def _jittered(colour: tuple[int, int, int], rng: random.Random) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, channel + rng.randint(-14, 14))) for channel in colour)
    return red, green, blue


DIGIT_HEIGHT = 0.72  # of the font's size; Pillow's built-in Aileron


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@cache
def _noise_field() -> np.ndarray:
    """A fixed field of standard-normal noise, float32 [640, 640, 3]: sampling it afresh would dominate."""
    return np.random.default_rng(20261121).standard_normal((640, 640, 3), dtype=np.float32)
