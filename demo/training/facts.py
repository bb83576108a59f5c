"""What is in each patch and in each image token of a drawn picture: what the vision tower is taught by itself."""

import torch
from torch import Tensor

from demo.training import architecture
from quantize.evaluate import scenes
from quantize.evaluate.drawing import COLOURS, SHAPES
from quantize.evaluate.scenes import Scene

IGNORED = -100
COLOUR_NAMES = tuple(COLOURS)
# Of each patch: what has its centre there (nothing, a thing, a digit), its colour, shape, digit, row and column of
# its cell, place in its number; and, of every patch, how many things there are. A box (centre x, y, width, height
# as shares of the picture) comes with it.
FACTS = {"kind": 3, "colour": len(COLOURS), "shape": len(SHAPES), "digit": 10, "row": 4, "column": 4, "place": 4}
FACTS["count"] = scenes.COUNTS["easy"][1] + 1
EDGES = ("x", "y", "left", "top", "right", "bottom")
# Of each image token, wherever in its patches the centre lies: the same, and in place of the box the two digits of
# its centre and edges in hundredths of the picture, as answers spell them.
TOKEN_FACTS = {name: answers for name, answers in FACTS.items() if name != "count"}
TOKEN_FACTS |= {f"{edge} tens": 11 for edge in EDGES} | {f"{edge} units": 10 for edge in EDGES}


def patch_facts(scene: Scene, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """What is in each patch of one picture, in `patchify`'s order.

    (facts int64 [patches, len(FACTS)], IGNORED where there is none; boxes float32 [patches, 4], NaN likewise)
    """
    facts = torch.full((rows, columns, len(FACTS)), IGNORED)
    boxes = torch.full((rows, columns, 4), torch.nan)
    names = list(FACTS)
    facts[..., names.index("kind")] = 0
    if not scene.grid:
        facts[..., names.index("count")] = len(scene.things)
    width, height = scene.image.size

    def mark(x: float, y: float, **known: int) -> tuple[int, int]:
        row = min(rows - 1, max(0, int(y / height * rows)))
        column = min(columns - 1, max(0, int(x / width * columns)))
        for name, value in known.items():
            facts[row, column, names.index(name)] = value
        return row, column

    for index, thing in enumerate(scene.things):
        known = {"kind": 1, "colour": COLOUR_NAMES.index(thing.colour), "shape": SHAPES.index(thing.shape)}
        if scene.grid:
            known["row"], known["column"] = divmod(index, scene.grid[1])
        left, top, right, bottom = thing.box
        boxes[mark(thing.x, thing.y, **known)] = torch.tensor(
            [
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            ]
        )
    for written in scene.writings:
        for place, (digit, x, y) in enumerate(written.characters):
            mark(x, y, kind=2, colour=COLOUR_NAMES.index(written.colour), digit=int(digit), place=place)
    m = architecture.MERGE
    return tuple(
        known.reshape(rows // m, m, columns // m, m, -1).permute(0, 2, 1, 3, 4).reshape(rows * columns, -1)
        for known in (facts, boxes)
    )


def token_facts(facts: Tensor, boxes: Tensor) -> Tensor:
    """What is in each image token, int64 [image tokens, len(TOKEN_FACTS)]; of two centres in one token, neither."""
    patches = architecture.MERGE**2
    facts, boxes = facts.view(-1, patches, len(FACTS)), boxes.view(-1, patches, 4)
    centres = facts[..., list(FACTS).index("kind")] > 0
    tokens, first = torch.arange(len(facts)), centres.int().argmax(dim=1)
    known = facts[tokens, first][:, [list(FACTS).index(name) for name in FACTS if name != "count"]]
    known[centres.sum(dim=1) > 1] = IGNORED
    x, y, width, height = boxes[tokens, first].unbind(-1)
    edges = torch.stack([x, y, x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)
    hundredths = (edges.nan_to_num(0).clamp(0, 1) * 100).round().long()
    there = (~x.isnan() & (centres.sum(dim=1) == 1))[:, None]
    tens, units = (torch.where(there, digit, IGNORED) for digit in (hundredths // 10, hundredths % 10))
    return torch.cat([known, tens, units], dim=-1)
