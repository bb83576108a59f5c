"""A safetensors file that is going to be written: which tensors, where in it, made from what."""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

FP8 = "F8_E4M3"
SCALE, PACKED, SHAPE = "_scale", "_packed", "_shape"
CODES_PER_WORD = 8  # 4 bits each
SCALE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor to be written: `source` copied, or its codes, their scales, or the shape that packing hides.

    Where the source holds all experts of a layer in one, this one's matrix begins `offset` bytes into it; where it
    lies there transposed, `stride` is how many elements its next column is away (0: it does not).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    source: str
    made: Literal["copy", "codes", "scale", "shape"]
    offset: int = 0
    stride: int = 0


def make_header(outputs: Iterable[Output]) -> bytes:
    """A safetensors file's length and header. Wider types first, so that every tensor lies aligned."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for output, (start, end) in layout(outputs).items():
        entries[output.name] = {"dtype": output.dtype, "shape": list(output.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def layout(outputs: Iterable[Output]) -> dict[Output, tuple[int, int]]:
    """Where each tensor's bytes lie, counted from the end of the header, in the order of the file."""
    places, at = {}, 0
    for output in sorted(outputs, key=lambda output: -bytes_each(output)):
        places[output] = (at, at + output.size)
        at += output.size
    return places


def bytes_each(output: Output) -> int:
    elements = math.prod(output.shape)
    return output.size // elements if elements else 0
