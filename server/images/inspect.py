"""Says what image bytes are, by content and never by name, and refuses what engines should not see."""

import io
import warnings
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from server.errors import ImageError, ImageTooLarge, UnsupportedImage

FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
MIN_SIDE = 1
MAX_ASPECT = 200  # the preprocessor's own limit (smart_resize of Qwen2-VL)


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """Sizes in pixels, as stored."""

    media_type: str
    width: int
    height: int


def inspect_image(data: bytes, max_pixels: int, path: str) -> InspectedImage:
    """Identify and fully decode `data`; the pixel cap is applied to the header, before any raster exists.

    Raises UnsupportedImage, ImageTooLarge or ImageError, naming `path`. CPU-bound: call it off the event loop.
    """
    try:
        with warnings.catch_warnings():
            # Our own pixel cap follows at once; Pillow's warning would say the same with the picture's size.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=list(FORMATS))
    except UnidentifiedImageError as problem:
        raise UnsupportedImage("The image is not a JPEG, PNG or WebP picture.", path) from problem
    except Image.DecompressionBombError as problem:
        raise ImageTooLarge(f"The image has more than {max_pixels} pixels.", path) from problem
    except (OSError, ValueError, SyntaxError) as problem:
        raise ImageError("The image is broken.", path) from problem
    with image:
        check_header(image, max_pixels, path)
        try:
            image.load()
        # Pillow's decoders raise all of these on hostile input (SyntaxError for broken PNG chunks).
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, MemoryError) as problem:
            raise ImageError("The image is broken or cut short.", path) from problem
        return InspectedImage(FORMATS[str(image.format)], image.width, image.height)


def check_header(image: Image.Image, max_pixels: int, path: str) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {max_pixels} in all are taken.", path
        )
    if max(width, height) > MAX_ASPECT * max(MIN_SIDE, min(width, height)):
        raise ImageError(f"The image's sides differ by more than a factor of {MAX_ASPECT}.", path)
    if getattr(image, "n_frames", 1) > 1:
        raise UnsupportedImage("Animated images are not taken: send one frame.", path)
