"""How much is measured: of Qwen3.5-9B on a GPU, or of a toy of the same kind in a dry run."""

from dataclasses import dataclass, field

from loadtest.qwen3_5_shapes import QWEN3_5_9B, Sizes

TOY = Sizes(
    width=256, mlp=512, heads=4, kv_heads=2, head=64, key_heads=2, value_heads=2, layers=4, vocabulary=512,
    vision=128, vision_mlp=512, vision_heads=2, blocks=2, positions=144,
)  # fmt: skip
RECIPES = ("fp8-dynamic", "fp8-dynamic-compact", "fp8-dynamic-balanced")
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Amounts:
    """`decode`: sequences in a batch, each with one token; `prefill`: tokens of one prompt; `sides`: of square
    pictures, px; `served`: sequences, tokens of each prompt and of each answer, on vLLM. A round takes
    `round_ms` at least."""

    sizes: Sizes
    recipes: tuple[str, ...]
    decode: tuple[int, ...]
    prefill: tuple[int, ...]
    sides: tuple[int, ...]
    served: tuple[tuple[int, int, int], ...]
    rounds: int
    round_ms: float
    # Of the largest copy and product, which say what the GPU can do at most.
    copied_bytes: int
    product: int
    context: int = field(default=4096)


FULL = Amounts(
    sizes=QWEN3_5_9B,
    recipes=RECIPES,
    decode=(1, 8, 32, 64, 128, 256),
    prefill=(512, 2048, 8192),
    sides=(224, 448, 672, 1024, 1536, 2048, 4096),
    served=((1, 1024, 128), (32, 1024, 128), (128, 1024, 128)),
    rounds=7,
    round_ms=10.0,
    copied_bytes=8 * GIB,
    product=8192,
)
DRY = Amounts(
    sizes=TOY,
    recipes=RECIPES[:1],
    decode=(1, 4),
    prefill=(16,),
    sides=(64, 128),
    served=((1, 16, 4), (2, 16, 4)),
    rounds=2,
    round_ms=0.0,
    copied_bytes=1 << 20,
    product=128,
    context=512,
)
