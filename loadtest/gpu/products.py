"""The matrix products of one token through the model, put together as vLLM runs them."""

from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.qwen3_5_shapes import Sizes, attends, model_shapes

HEAD = "lm_head"
# vLLM multiplies by these at once, where all of them are of one type; by the others one at a time.
OF_ATTENTION = {
    "qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o_proj": ("self_attn.o_proj",),
}
OF_LINEAR_ATTENTION = {
    "in_proj_qkvz": ("linear_attn.in_proj_qkv", "linear_attn.in_proj_z"),
    "in_proj_ba": ("linear_attn.in_proj_b", "linear_attn.in_proj_a"),
    "out_proj": ("linear_attn.out_proj",),
}
OF_MLP = {"gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"), "down_proj": ("mlp.down_proj",)}
# So narrow that no recipe rounds it.
NARROW = "in_proj_ba"


@dataclass(frozen=True, slots=True)
class Product:
    """`parts`: the names of the matrices in the checkpoint, less `.weight`; they lie one below the other."""

    kind: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """All products of one kind: a matrix [rows, columns], so many times in the model."""

    name: str
    rows: int
    columns: int
    times: int


def list_products(layers: int) -> Iterator[Product]:
    """In the order in which a token meets them."""
    for layer in range(layers):
        mixing = OF_ATTENTION if attends(layer) else OF_LINEAR_ATTENTION
        for kind, names in (mixing | OF_MLP).items():
            yield Product(kind, tuple(f"model.language_model.layers.{layer}.{name}" for name in names))
    yield Product(HEAD, (HEAD,))


def list_kinds(sizes: Sizes) -> list[Kind]:
    shapes = model_shapes(sizes)
    found: dict[str, Kind] = {}
    for product in list_products(sizes.layers):
        parts = [shapes[f"{part}.weight"] for part in product.parts]
        times = found[product.kind].times + 1 if product.kind in found else 1
        found[product.kind] = Kind(product.kind, sum(rows for rows, _ in parts), parts[0][1], times)
    return list(found.values())
