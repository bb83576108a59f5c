"""The plan: what becomes of every tensor and why, and how many bytes are left, from headers and configs alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from quantize.architecture import EXPERTS, PARTS, Architecture, Part
from quantize.checkpoint import StoredTensor, read_config, read_tensors
from quantize.errors import RecipeError, UnsupportedArchitecture, UnsupportedCheckpoint, WrongDtype
from quantize.outputs import coded
from quantize.recipe import ALWAYS_KEPT, REGEX, Recipe
from quantize.weights_file import Output, make_header

SOURCE_DTYPES = frozenset({"BF16", "F16"})
WEIGHT = ".weight"
# Why a part stays, where nobody should want it otherwise.
KEPT = {
    "vision": "sight stays as it is",
    "connector": "sight stays as it is",
    "cross-attention": "sight enters here",
    "gates": "small, and steers much",
    "mtp": "drafts for the rest",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one tensor of the source.

    A recipe that rescales divides a norm's weights by what it multiplies the columns of its `readers` with; each of
    these knows its `norm`.
    """

    name: str
    part: Part
    quantized: bool
    reason: str
    source: StoredTensor
    outputs: tuple[Output, ...]
    norm: str | None = None
    readers: tuple[str, ...] = ()

    @property
    def verdict(self) -> Literal["quantize", "rescale", "keep"]:
        return "quantize" if self.quantized else "rescale" if self.readers else "keep"

    @property
    def after(self) -> int:
        return sum(output.size for output in self.outputs)


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do. `fates` in the source's order, file by file."""

    source: Path
    recipe: Recipe
    architecture: Architecture
    config: dict[str, Any]
    fates: tuple[Fate, ...]
    tied: bool

    @cached_property
    def shards(self) -> dict[str, list[Output]]:
        """What each weight file will hold: the same tensors as in the source."""
        shards: dict[str, list[Output]] = {}
        for fate in self.fates:
            shards.setdefault(fate.source.file.name, []).extend(fate.outputs)
        return shards

    @cached_property
    def sources(self) -> dict[str, StoredTensor]:
        """By name."""
        return {fate.name: fate.source for fate in self.fates}

    @cached_property
    def ignore(self) -> list[str]:
        """Regexes of the modules that stay, for vLLM: of every part whose matrices do, and the recipe's own."""
        matrices = {fate.part for fate in self.fates if is_matrix(fate.name, fate.source)}
        kept = matrices - set(self.recipe.quantize) - ALWAYS_KEPT.keys() | ({"lm_head"} if self.tied else set())
        patterns = [
            REGEX + pattern for part in PARTS if part in kept for pattern in self.architecture.patterns(part)
        ]
        return list(dict.fromkeys([*patterns, *self.recipe.ignore]))

    @property
    def before(self) -> int:
        """Bytes of weights, as are all sizes here."""
        return sum(fate.source.size for fate in self.fates)

    @property
    def after(self) -> int:
        return sum(fate.after for fate in self.fates)

    @property
    def file_bytes(self) -> int:
        """What the weight files will take on disk, headers included."""
        return sum(
            len(make_header(outputs)) + sum(each.size for each in outputs) for outputs in self.shards.values()
        )


def make_plan(source: Path, recipe: Recipe, architecture: Architecture) -> Plan:
    """Decide about every tensor. Raises UnsupportedCheckpoint or one of its kinds."""
    config = read_config(source)
    tensors = read_tensors(source)
    lost = [name for name in tensors if architecture.part_of(name) is None]
    if lost:
        raise UnsupportedArchitecture(
            f"the map '{architecture.name}' does not say what {len(lost)} tensors are part of, such as "
            f"{', '.join(sorted(lost)[:3])}: a map of your own can (--architecture)"
        )
    architecture = replace(architecture, fused_experts=find_layout(tensors, config, architecture))
    fates = tuple(decide(name, tensor, recipe, architecture) for name, tensor in tensors.items())
    if not any(fate.quantized for fate in fates):
        raise UnsupportedCheckpoint(f"{source} has nothing that {recipe.name} quantizes")
    check_fused(fates, architecture)
    if recipe.rescales:
        fates = tuple(rescale_norms(fates, architecture))
    tied = all(fate.part != "lm_head" for fate in fates)
    return Plan(source, recipe, architecture, config, fates, tied)


def find_layout(
    tensors: dict[str, StoredTensor], config: dict[str, Any], architecture: Architecture
) -> Literal["rows", "columns"] | None:
    """How all experts of a layer lie in one tensor: as the config's widths say, for transformers 5 saves rows of a
    family that was published in columns (Qwen3-VL MoE); as the map says where the widths are the same."""
    text = config.get("text_config", config)
    hidden, width = text.get("hidden_size"), text.get("moe_intermediate_size")
    if hidden is None or width is None or hidden == width:
        return architecture.fused_experts
    for name, tensor in tensors.items():
        if name.endswith("down_proj") and is_fused(name, tensor):
            if tensor.shape[1:] == (hidden, width):
                return "rows"
            if tensor.shape[1:] == (width, hidden):
                return "columns"
            each = "x".join(map(str, tensor.shape[1:]))
            raise UnsupportedCheckpoint(f"{name} is {each} an expert, but config.json says {hidden} and {width}")
    return architecture.fused_experts


def rescale_norms(fates: tuple[Fate, ...], architecture: Architecture) -> Iterator[Fate]:
    """The same fates; but norms whose readers are all quantized take over the scale of these readers' columns."""
    quantized = {fate.name for fate in fates if fate.quantized}
    readers: dict[str, list[str]] = {}
    for fate in fates:
        for each in architecture.norms:
            stem = fate.name.removesuffix(each.norm + WEIGHT)
            fed = [stem + feed + WEIGHT for feed in each.feeds]
            if fate.part == "norms" and stem.endswith(".") and quantized.issuperset(fed):
                readers[fate.name] = fed
    norms = {reader: norm for norm, fed in readers.items() for reader in fed}
    for fate in fates:
        if fate.name in readers:
            yield replace(
                fate, reason="takes over the scale of its readers' columns", readers=tuple(readers[fate.name])
            )
        else:
            yield replace(fate, norm=norms.get(fate.name))


def check_fused(fates: Iterable[Fate], architecture: Architecture) -> None:
    """Raise RecipeError where a recipe splits what vLLM loads as one matrix."""
    quantized = {fate.name.removesuffix(WEIGHT): fate.quantized for fate in fates if fate.name.endswith(WEIGHT)}
    for first, *others in architecture.fused:
        for name in [name for name in quantized if name.endswith("." + first)]:
            stem = name.removesuffix(first)
            for other in others:
                if quantized.get(stem + other, quantized[name]) != quantized[name]:
                    raise RecipeError(f"the recipe splits {name} and {other}, which vLLM loads as one matrix")


def decide(name: str, tensor: StoredTensor, recipe: Recipe, architecture: Architecture) -> Fate:
    part = architecture.part_of(name)
    assert part is not None
    reason = reason_to_keep(name, part, tensor, recipe)
    if reason is not None:
        copy = Output(name, tensor.dtype, tensor.shape, tensor.size, name, "copy")
        return Fate(name, part, False, reason, tensor, (copy,))
    if tensor.dtype not in SOURCE_DTYPES:
        raise WrongDtype(
            f"{name} is {tensor.dtype}: {recipe.name} takes {' or '.join(sorted(SOURCE_DTYPES))} weights"
        )
    outputs = tuple(quantized_outputs(name, tensor, recipe, architecture))
    return Fate(name, part, True, f"{part} is quantized by {recipe.name}", tensor, outputs)


def reason_to_keep(name: str, part: Part, tensor: StoredTensor, recipe: Recipe) -> str | None:
    if part in ALWAYS_KEPT:
        return ALWAYS_KEPT[part]
    if part not in recipe.quantize:
        return KEPT.get(part, f"{recipe.name} keeps it")
    if not is_matrix(name, tensor):
        return "not a matrix that tokens are multiplied with"
    if own := recipe.ignored_by(name):
        return f"kept by the recipe's {own}"
    return None


def is_matrix(name: str, tensor: StoredTensor) -> bool:
    """A linear layer's weight [out, in], or those of all experts of a layer in one; not an empty one."""
    return tensor.size > 0 and ((len(tensor.shape) == 2 and name.endswith(WEIGHT)) or is_fused(name, tensor))


def is_fused(name: str, tensor: StoredTensor) -> bool:
    return len(tensor.shape) == 3 and EXPERTS.match(name) is not None


def quantized_outputs(
    name: str, tensor: StoredTensor, recipe: Recipe, architecture: Architecture
) -> Iterator[Output]:
    """Codes and scales of one matrix; of fused experts, under the names that vLLM knows experts one by one."""
    match = EXPERTS.match(name) if is_fused(name, tensor) else None
    if match is None:
        rows, columns = tensor.shape
        yield from coded(Output(name, tensor.dtype, (rows, columns), 0, name, "codes"), recipe)
        return
    if architecture.fused_experts is None:
        raise UnsupportedArchitecture(
            f"the map '{architecture.name}' does not say how experts lie in {name} (fused_experts: rows or columns)"
        )
    projections = ("down_proj",) if match["which"] == "down_proj" else ("gate_proj", "up_proj")
    count, first, second = tensor.shape
    transposed = architecture.fused_experts == "columns"
    rows, columns = (second, first) if transposed else (first, second)
    if rows % len(projections):
        raise UnsupportedCheckpoint(f"{name} does not hold as many rows of gate_proj as of up_proj: {rows} in all")
    rows //= len(projections)
    for index in range(count):
        for half, projection in enumerate(projections):
            expert = f"{match['experts']}.{index}.{projection}{WEIGHT}"
            elements = index * first * second + half * rows * (1 if transposed else columns)
            place = Output(
                expert, tensor.dtype, (rows, columns), 0, name, "codes", elements * 2, second if transposed else 0
            )
            yield from coded(place, recipe)


@dataclass(frozen=True, slots=True)
class PartSum:
    """All tensors of one part: how many, how many of them quantized, bytes, and why the others stay."""

    tensors: int
    quantized: int
    before: int
    after: int
    reasons: tuple[str, ...]


def sum_by_part(plan: Plan) -> dict[Part, PartSum]:
    """Of each part that there is."""
    found = {}
    for part in PARTS:
        fates = [fate for fate in plan.fates if fate.part == part]
        if fates:
            found[part] = PartSum(
                len(fates),
                sum(fate.quantized for fate in fates),
                sum(fate.source.size for fate in fates),
                sum(fate.after for fate in fates),
                tuple(dict.fromkeys(fate.reason for fate in fates if not fate.quantized)),
            )
    return found
