"""The bytes of planned pictures: drawn from their numbers, so that no run needs files and any two are alike."""

import io
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from loadtest.scenario.document import Pictures
from loadtest.scenario.plan import Picture
from loadtest.scenario.words import WORDS

COLOURS = ("#d62026", "#f58c18", "#f6db27", "#22963e", "#2452ce", "#86309e", "#16161a")
CELLS = 12
GRAIN = 10
SMALL = (128, 32)  # px: print does not fit on less


def draw_picture(picture: Picture, pictures: Pictures) -> bytes:
    """An encoded file: the same bytes for the same picture, drawing and version of Pillow."""
    draw = {"objects": objects, "receipt": receipt, "photo": photo, "camera": camera}[pictures.drawing]
    image = draw(picture, pictures)
    file = io.BytesIO()
    if picture.format == "png":
        image.save(file, "PNG", compress_level=1)
    elif picture.format == "webp":
        image.save(file, "WEBP", quality=picture.quality, method=0)
    else:
        image.save(file, "JPEG", quality=picture.quality)
    return file.getvalue()


def seeded(picture: Picture, what: str, number: int) -> random.Random:
    return random.Random(f"{picture.seed}/{what}/{number}")


def backdrop(size: tuple[int, int], rng: random.Random) -> Image.Image:
    coarse = np.random.default_rng(rng.getrandbits(64)).integers(90, 255, (CELLS, CELLS, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def objects(picture: Picture, _: Pictures) -> Image.Image:
    rng = seeded(picture, "objects", picture.number)
    image = backdrop((picture.width, picture.height), rng)
    pen = ImageDraw.Draw(image)
    for _each in range(rng.randint(2, 6)):
        place_shape(pen, image.size, rng)
    # The number is written small: pictures of different numbers are never equal.
    pen.text((2, 2), f"{picture.number}", fill="black")
    return image


def place_shape(pen: ImageDraw.ImageDraw, size: tuple[int, int], rng: random.Random) -> None:
    radius = min(size) * rng.uniform(0.05, 0.2)
    x, y = rng.uniform(radius, size[0] - radius), rng.uniform(radius, size[1] - radius)
    box = (x - radius, y - radius, x + radius, y + radius)
    draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
    draw(box, fill=rng.choice(COLOURS), outline="black")


def receipt(picture: Picture, _: Pictures) -> Image.Image:
    rng = seeded(picture, "receipt", picture.number)
    image = Image.new("RGB", (picture.width, picture.height), "#fbfaf5")
    pen = ImageDraw.Draw(image)
    size = max(10, picture.width // 32)
    font = ImageFont.load_default(size)
    pen.text((size, size), f"RECEIPT {picture.number:08d}", fill="black", font=font)
    for y in range(3 * size, picture.height - size, round(1.4 * size)):
        name = " ".join(rng.choices(WORDS, k=2))
        pen.text((size, y), name, fill="#202020", font=font)
        pen.text((picture.width * 3 // 4, y), f"{rng.randint(1, 99_999) / 100:.2f}", fill="#202020", font=font)
    stamp(picture, image)
    return image


def photo(picture: Picture, _: Pictures) -> Image.Image:
    rng = seeded(picture, "photo", picture.number)
    image = backdrop((picture.width, picture.height), rng)
    noise = np.random.default_rng(rng.getrandbits(64))
    # A tile of grain, repeated: as large a file, for a tenth of the time.
    tile = noise.integers(-GRAIN, GRAIN + 1, (512, 512, 1), dtype=np.int16)
    rows, columns = -(-picture.height // 512), -(-picture.width // 512)
    grain = np.tile(tile, (rows, columns, 1))[: picture.height, : picture.width]
    pixels = np.clip(np.asarray(image, dtype=np.int16) + grain, 0, 255).astype(np.uint8)
    grained = Image.fromarray(pixels)
    pen = ImageDraw.Draw(grained)
    for _each in range(rng.randint(3, 9)):
        place_shape(pen, grained.size, rng)
    return grained


def camera(picture: Picture, pictures: Pictures) -> Image.Image:
    """One of the fixed views; from frame to frame a thing moves, and the clock in the corner."""
    view, frame = picture.number % pictures.cameras, picture.number // pictures.cameras
    rng = seeded(picture, "camera", view)
    image = backdrop((picture.width, picture.height), rng)
    pen = ImageDraw.Draw(image)
    for _each in range(8):
        place_shape(pen, image.size, rng)
    side = max(4, picture.width // 16)
    x, y = (frame * side // 4) % picture.width, picture.height * 2 // 3
    pen.rectangle((x, y, x + side, y + side), fill="#16161a")
    pen.text((4, 4), f"CAM {view:02d} {frame:08d}", fill="black")
    stamp(picture, image)
    return image


def stamp(picture: Picture, image: Image.Image) -> None:
    """Four cells of colours along the bottom of what is too small for its number in print: pictures of different
    numbers are never equal."""
    if picture.width >= SMALL[0] and picture.height >= SMALL[1]:
        return
    rng, pen = seeded(picture, "stamp", picture.number), ImageDraw.Draw(image)
    width, top = -(-picture.width // 4), picture.height - picture.height // 4
    for place in range(4):
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
        pen.rectangle((place * width, top, (place + 1) * width - 1, picture.height), fill=colour)
