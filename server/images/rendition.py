"""What an engine is sent where that is not what came: one frame, upright, in RGB, no larger than is of use.

Turned, put on white and resized in the order and to the size that vLLM itself would (`vllm.multimodal.media.image`,
`Qwen2VLImageProcessor`), so that the engine finds nothing left to do.
"""

import io
import math
import time
from dataclasses import dataclass, field, replace

from PIL import Image, ImageOps

from server.domain import Detail
from server.errors import ImageError, ImageTooLarge
from server.images.inspect import BROKEN, ENGINE_FORMATS, Format, InspectedImage, open_image, orientation_of
from server.images.photograph import JPEG_QUALITY, BrokenPhotograph, bring_down
from server.images.token_rules.qwen import QwenTokenRule

# Part of every identity: raise it when the same plan comes to other pixels.
VERSION = 3
# Of JPEGs, those that libvips brings down.
PHOTOGRAPHS = frozenset({"RGB", "L"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of an image. `size` is (width, height) in pixels after resizing, None where it stays.

    `notes` are told to the caller: first-frame, reencoded, downscaled, low-detail; `lossy` joins them later.
    """

    size: tuple[int, int] | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Names the outcome, together with the original's digest; empty where the original itself is sent."""
        if not self.notes:
            return ""
        return f"v{VERSION} " + ("as-is" if self.size is None else f"{self.size[0]}x{self.size[1]}")


@dataclass(frozen=True, slots=True)
class Rendition:
    """Bytes for an engine; (width, height) in pixels. `lossy` where a PNG would have been too large; `took_s`
    is what it took to make."""

    data: bytes
    media_type: str
    width: int
    height: int
    lossy: bool = False
    took_s: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class PixelBudgets:
    """`rule` is the served model's, where known: beyond its own maximum no pixel reaches the model.

    `low_detail` is the most pixels of an image asked about with detail `low`; `auto` is what that word means.
    """

    rule: QwenTokenRule | None
    low_detail: int
    auto: Detail
    downscale: bool


def make_plan(seen: InspectedImage, detail: Detail, budgets: PixelBudgets) -> Plan:
    notes = []
    if seen.frames > 1:
        notes.append("first-frame")
    elif seen.format not in ENGINE_FORMATS:
        notes.append("reencoded")
    low = (budgets.auto if detail == "auto" else detail) == "low"
    size = useful_size(seen.width, seen.height, budgets.low_detail if low else None, budgets)
    if size is not None:
        notes.append("low-detail" if low else "downscaled")
    return Plan(size, tuple(notes))


def useful_size(width: int, height: int, budget: int | None, budgets: PixelBudgets) -> tuple[int, int] | None:
    """(width, height) that an image is brought down to; None where all its pixels are of use."""
    rule = budgets.rule
    if rule is not None and (budget is not None or budgets.downscale):
        most = rule.max_pixels if budget is None else max(rule.min_pixels, min(budget, rule.max_pixels))
        if width * height <= most:
            return None
        return rule.within(most).resized(width, height)
    if budget is None or width * height <= budget:
        return None
    scale = math.sqrt(budget / (width * height))
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


def render(data: bytes, kind: Format, plan: Plan, max_bytes: int) -> Rendition:
    """What the plan leads to. CPU-bound, and holds up to seven bytes a pixel: call it in the decode pool.

    It becomes a PNG, which loses nothing. Two things become a JPEG, and `lossy`: a PNG that would have more than
    `max_bytes`, and what was a JPEG, of which losing nothing more would cost more than it is worth. Raises
    ImageError, ImageTooLarge.
    """
    began = time.perf_counter()
    try:
        with open_image(data, frozenset({kind})) as image:
            if kind == "jpeg" and image.mode in PHOTOGRAPHS and plan.size is not None:
                made = Rendition(
                    bring_down(data, plan.size, orientation_of(image)), "image/jpeg", *plan.size, lossy=True
                )
            else:
                made = redraw(image, kind, plan, max_bytes)
    except (*BROKEN, BrokenPhotograph) as problem:
        raise ImageError("The image is broken or cut short.") from problem
    if len(made.data) > max_bytes:
        raise ImageTooLarge(
            f"The image has more than {max_bytes} bytes once it is decoded and encoded for the engine."
        )
    return replace(made, took_s=time.perf_counter() - began)


def redraw(image: Image.Image, kind: Format, plan: Plan, max_bytes: int) -> Rendition:
    """By Pillow, whole."""
    plain = on_white(ImageOps.exif_transpose(image))
    if plan.size is not None:
        plain = resize(plain, plan.size)
    if kind != "jpeg":
        exact = Rendition(as_png(plain), "image/png", plain.width, plain.height)
        if len(exact.data) <= max_bytes:
            return exact
    return Rendition(as_jpeg(plain), "image/jpeg", plain.width, plain.height, lossy=True)


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def as_png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def on_white(image: Image.Image) -> Image.Image:
    """RGB as vLLM makes it (`convert_image_mode`)."""
    if image.mode == "RGB":
        return image
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", layered.size, (255, 255, 255))
        white.paste(layered, mask=layered.getchannel("A"))
        return white
    return image.convert("RGB")
