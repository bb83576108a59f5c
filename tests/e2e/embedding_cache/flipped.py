"""A checkpoint that sees otherwise by as little as there can be."""

import os
import shutil
from pathlib import Path

from quantize.checkpoint import read_tensors
from tests.conftest import DEMO_MODEL


def flip_one_bit(folder: Path) -> Path:
    """Of the tower's first block."""
    shutil.copytree(DEMO_MODEL, folder, ignore=shutil.ignore_patterns("fovea-vision.json"))
    tensor = read_tensors(folder)["model.visual.blocks.0.attn.qkv.weight"]
    with tensor.file.open("rb+") as stream:
        stream.seek(tensor.start + tensor.size // 2)
        (byte,) = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    return folder
