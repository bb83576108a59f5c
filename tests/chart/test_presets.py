"""What the presets' comments promise is what `fovea-quantize fit` and `plan` say today."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.template import PRESETS
from quantize.architecture import find_architecture
from quantize.checkpoint import read_config, read_tensors
from quantize.fit import Fit, Weights, Wish, make_fit, read_gpus
from quantize.model_shape import read_shape
from quantize.plan import Plan, make_plan
from quantize.recipe import read_recipe
from tests.conftest import DEMO_MODEL
from tests.unit.quantize.test_fit import QWEN
from tests.unit.quantize.test_plan import write_qwen3_5_9b

QWENS = [name for name in sorted(path.stem for path in PRESETS.glob("*.yaml")) if name != "cpu-demo"]


def values(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    return loaded


def pools(name: str) -> list[dict[str, Any]]:
    given = values(name)
    return [{**given.get("poolDefaults", {}), **pool} for pool in given["pools"]]


def comment(name: str) -> str:
    lines = (PRESETS / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Qwen3.5-9B by the shapes that are published, the head that drafts included."""
    return plan_of(write_qwen3_5_9b(tmp_path_factory.mktemp("qwen") / "9b", mtp=True))


def plan_of(folder: Path) -> Plan:
    return make_plan(folder, read_recipe("fp8-dynamic"), find_architecture(read_config(folder)))


def fit(gpu: str, plan: Plan, context: int, recipe: str) -> Fit:
    loaded = [each for each in plan.fates if each.part != "mtp"]
    size = sum(each.after if recipe != "bf16" else each.source.size for each in loaded)
    weights = Weights(recipe, "FP8_DYNAMIC" if recipe != "bf16" else None, size)
    return make_fit(read_gpus([gpu])[0], weights, read_shape(QWEN), Wish(context, 1, 1024, 1024))


@pytest.mark.parametrize("name", QWENS)
def test_a_comment_tells_what_fit_says_of_its_gpu_and_context(name: str, qwen: Plan) -> None:
    pool = pools(name)[-1]
    most = fit(pool["preset"], qwen, pool["contextTokens"], "fp8-dynamic").most_sequences
    assert f"--gpu {pool['preset']} --context {pool['contextTokens']}` says {most} conversations" in comment(name)


@pytest.mark.parametrize(
    ("name", "words"), [("l4-x1", "room for {}"), ("h100-x1", "BF16: {}"), ("canary", "{} in BF16")]
)
def test_a_comment_tells_what_unquantized_weights_leave_room_for(name: str, words: str, qwen: Plan) -> None:
    pool = pools(name)[0]
    most = fit(pool["preset"], qwen, pool["contextTokens"], "bf16").most_sequences
    assert words.format(most) in comment(name)


@pytest.mark.parametrize("name", QWENS)
def test_the_model_store_holds_source_and_child_and_the_next_child(name: str, qwen: Plan) -> None:
    size = values(name)["modelStore"]["size"]
    assert size.endswith("Gi")
    assert int(size.removesuffix("Gi")) * 1024**3 > qwen.before + 2 * qwen.after
    told = {pool.get("startup", {}).get("checkpointGB") for pool in pools(name) if "quantize" in pool}
    assert told == {round(qwen.after / 1e9)}


def test_comments_tell_the_bytes_of_plan(qwen: Plan) -> None:
    sizes = f"{qwen.before / 1e9:.1f} GB before and {qwen.after / 1e9:.1f} after"
    assert all(sizes in comment(name) for name in ("l4-x1", "h100-x1"))
    demo = plan_of(DEMO_MODEL)
    assert f"{demo.before / 1e6:.1f} MB before and {demo.after / 1e6:.1f} after" in comment("cpu-demo")


def test_the_demos_pictures_are_priced_as_its_preprocessor_says() -> None:
    said = values("cpu-demo")["pools"][0]["model"]["preprocessorConfig"]
    real = json.loads((DEMO_MODEL / "preprocessor_config.json").read_text())
    assert said == {name: real[name] for name in said}
    assert read_tensors(DEMO_MODEL)
