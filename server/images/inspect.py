"""Says what image bytes are, by content and never by name, and refuses what engines should not see.

Only headers are read here: no raster exists before the caps have been applied, and most images never need one.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Literal

from PIL import ExifTags, Image, UnidentifiedImageError, features

from server.errors import ConfigError, ImageError, ImageTooLarge, UnsupportedImage
from server.images.structure import check_outline

Format = Literal["jpeg", "png", "webp", "gif", "avif", "tiff", "heic"]
# Pillow's names for those who open files, and for what they find: a JPEG that carries a second picture behind the
# first (a gain map, a stereo pair) is found to be an MPO.
OPENERS: dict[str, Format] = {
    "JPEG": "jpeg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "AVIF": "avif",
    "TIFF": "tiff",
    "HEIF": "heic",
}
FOUND = OPENERS | {"MPO": "jpeg"}
# Formats that engines are sent as they came; all others are decoded here.
ENGINE_FORMATS = frozenset({"jpeg", "png", "webp"})
# Their headers tell how many frames there are. What follows the first picture of an MPO is no animation.
COUNTED_BY_PILLOW = frozenset({"png", "webp", "avif", "heic"})
SIDEWAYS = frozenset({5, 6, 7, 8})
TURNED = frozenset(range(2, 9))
# What Pillow's parsers and decoders raise on hostile input, besides its own classes.
BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, AssertionError,
    RuntimeError, ArithmeticError, MemoryError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeaderLimits:
    """What an image may claim to be. `max_aspect` is the longer side over the shorter."""

    formats: frozenset[Format]
    max_pixels: int
    max_side: int
    max_aspect: int
    max_frames: int


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """`width` x `height` in pixels as seen: turned as EXIF's orientation says."""

    format: Format
    width: int
    height: int
    frames: int

    @property
    def media_type(self) -> str:
        return f"image/{self.format}"


def enable_formats(formats: frozenset[Format]) -> None:
    """Make Pillow know them, and keep its doubts about callers' files out of our log. Raises ConfigError."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if "heic" in formats:
        try:
            from pillow_heif import register_heif_opener
        except ImportError as problem:
            raise ConfigError("images.formats names heic: install fovea[heic]") from problem
        register_heif_opener(thumbnails=False)
    missing = [name for name in ("webp", "avif") if name in formats and not features.check(name)]
    if missing:
        raise ConfigError(f"images.formats names {missing[0]}, which the installed Pillow cannot read")


def inspect_image(data: bytes, limits: HeaderLimits) -> InspectedImage:
    """What `data` is, by its header and its outline. Raises UnsupportedImage, ImageTooLarge or ImageError.

    An image that passes is whole as far as can be told without decoding it. CPU-bound: call it off the event loop.
    """
    frames = check_outline(data, limits.max_frames)
    with open_image(data, limits.formats) as image:
        check_size(image.size, limits)
        kind = FOUND[str(image.format)]
        if kind in COUNTED_BY_PILLOW:
            frames = int(getattr(image, "n_frames", 1))
        elif kind == "tiff":
            # Counting walks every page; whether there is a second one was seen when the first was opened.
            frames = 2 if getattr(image, "is_animated", False) else 1
        width, height = seen_size(image)
    if frames is None or frames > limits.max_frames:
        raise ImageError(f"The image has more than {limits.max_frames} frames.")
    return InspectedImage(kind, width, height, frames)


def open_image(data: bytes, formats: frozenset[Format]) -> Image.Image:
    """Pillow's view of the header: the library that engines decode with, so that both read the same.

    Raises UnsupportedImage, ImageTooLarge or ImageError.
    """
    try:
        return Image.open(io.BytesIO(data), formats=[name for name, kind in OPENERS.items() if kind in formats])
    except UnidentifiedImageError as problem:
        known = ", ".join(sorted(kind.upper() for kind in formats))
        raise UnsupportedImage(f"The image is not a picture in a format that is taken ({known}).") from problem
    except Image.DecompressionBombError as problem:
        raise ImageTooLarge("The image has more pixels than are taken.") from problem
    except BROKEN as problem:
        raise ImageError("The image is broken.") from problem


def check_size(size: tuple[int, int], limits: HeaderLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {limits.max_pixels} in all are taken."
        )
    if max(width, height) > limits.max_side:
        raise ImageTooLarge(f"The image has {width} x {height} pixels; at most {limits.max_side} a side are taken.")
    if max(width, height) > limits.max_aspect * max(1, min(width, height)):
        raise ImageError(f"The image's sides differ by more than a factor of {limits.max_aspect}.")


def seen_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as a viewer sees it, and as vLLM does, which turns images by their EXIF orientation."""
    width, height = image.size
    if image.format == "PNG" and "exif" not in image.info:
        return width, height  # Pillow would decode the raster to look for EXIF behind it
    return (height, width) if orientation_of(image) in SIDEWAYS else (width, height)


def orientation_of(image: Image.Image) -> int:
    """EXIF's, 1 (upright) where it cannot be read: vLLM then leaves the image as it is."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except BROKEN:
        return 1
    return orientation if orientation in TURNED else 1
