"""Brings a JPEG down by libvips: decoded, resized and encoded strip by strip, so that its raster is never whole.

It takes half the CPU of Pillow's way and a few megabytes where that held seven bytes a pixel. What is not a plain
photograph (CMYK, say) goes Pillow's way (`server.images.rendition`).
"""

import logging

import pyvips

JPEG_QUALITY = 95
# libjpeg halves a picture (twice, three times) where that leaves it this much larger than what it is resized to.
SPARE = 1.5
HALVINGS = (8, 4, 2, 1)
# EXIF's orientations, as what a viewer does: turned clockwise by so much, then mirrored.
TURNS: dict[int, tuple[str | None, bool]] = {
    2: (None, True),
    3: ("d180", False),
    4: ("d180", True),
    5: ("d90", True),
    6: ("d90", False),
    7: ("d270", True),
    8: ("d270", False),
}

# The threads are those of our own pool, and nothing is asked for twice.
pyvips.vips_lib.vips_concurrency_set(1)
pyvips.cache_set_max(0)
# It warns of what is odd about callers' files: anyone could fill the log.
logging.getLogger("pyvips").setLevel(logging.CRITICAL)


class BrokenPhotograph(Exception):
    """It cannot be decoded to its end."""


def bring_down(data: bytes, size: tuple[int, int], orientation: int) -> bytes:
    """A JPEG of `size` (width, height) in pixels, upright and without metadata, of one with EXIF's `orientation`.

    CPU-bound: call it off the event loop, whose other threads run meanwhile. Raises BrokenPhotograph.
    """
    turn, mirrored = TURNS.get(orientation, (None, False))
    width, height = size if turn in (None, "d180") else size[::-1]
    try:
        image = pyvips.Image.jpegload_buffer(data, access="sequential")
        halved = halving(image.width / width, image.height / height)
        if halved > 1:
            image = pyvips.Image.jpegload_buffer(data, access="sequential", shrink=halved, fail_on="truncated")
        else:
            image = pyvips.Image.jpegload_buffer(data, access="sequential", fail_on="truncated")
        if image.bands == 1:
            image = image.colourspace("srgb")
        image = image.resize(width / image.width, vscale=height / image.height, kernel="cubic", gap=0)
        if turn is not None or mirrored:
            image = image.copy_memory()  # strips come from the top, and turning wants them from elsewhere
        if turn is not None:
            image = image.rot(turn)
        if mirrored:
            image = image.fliphor()
        return bytes(image.jpegsave_buffer(Q=JPEG_QUALITY, subsample_mode="off", keep="none"))
    except pyvips.Error as problem:
        raise BrokenPhotograph from problem


def halving(across: float, down: float) -> int:
    """By how much libjpeg may divide sides that are so many times what they are resized to."""
    return next((by for by in HALVINGS if min(across, down) / by >= SPARE), 1)
