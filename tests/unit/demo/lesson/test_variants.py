from importlib.metadata import entry_points

import pytest

from demo.lesson.page import HEADINGS
from demo.lesson.teach import NAMES
from demo.lesson.variants import HERE, VARIANTS, engine_environ, part_of, scheme_of
from quantize.checkpoint import read_tensors
from tests.conftest import DEMO_MODEL


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.visual.blocks.0.attn.qkv.weight", "vision"),
        ("visual.merger.linear_fc1", "vision"),  # as vLLM names it
        ("model.language_model.layers.3.mlp.up_proj.weight", "layers"),
        ("language_model.model.layers.3.mlp.gate_up_proj", "layers"),
        ("model.language_model.embed_tokens.weight", "rest"),
        ("language_model.lm_head", "rest"),
    ],
)
def test_a_part_is_known_by_its_name_in_the_file_and_in_vllm(name: str, part: str) -> None:
    assert part_of(name) == part


def test_everything_means_every_weight_matrix_and_one_half_leaves_the_other() -> None:
    dimensions = {name: len(tensor.shape) for name, tensor in read_tensors(DEMO_MODEL).items()}

    def touched(variant: str) -> set[str]:
        return {name for name, count in dimensions.items() if scheme_of(name, count, VARIANTS[variant])}

    everything = touched("int4-everything")
    assert touched("int4-vision") | touched("int4-language") == everything - {
        "lm_head.weight",
        "model.language_model.embed_tokens.weight",
    }
    assert not touched("int4-vision") & touched("int4-language")
    kept = set(dimensions) - everything
    assert {name for name in kept if dimensions[name] > 1 and "conv1d" not in name} == set()
    assert all("norm" in name or dimensions[name] < 2 or "conv1d" in name for name in kept)


def test_every_variant_has_a_heading() -> None:
    assert set(HEADINGS) == set(NAMES)


def test_vllm_finds_the_plugin_on_the_engines_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in engine_environ()["PYTHONPATH"].split(":"):
        monkeypatch.syspath_prepend(folder)
    (plugin,) = entry_points(group="vllm.general_plugins", name="fovea_demo_rounding")
    assert (HERE.parent.parent / plugin.module.replace(".", "/")).with_suffix(".py").is_file()
