"""What GPU presets promise holds by the arithmetic of `fovea-quantize fit`, for the model they are made for."""

from typing import Any

import pytest
import yaml

from helm.template import CHART
from quantize.fit import Fit, Weights, Wish, make_fit, read_gpus
from quantize.model_shape import read_shape
from tests.unit.quantize.test_fit import QWEN, WEIGHTS

PRESETS = CHART / "gpu-presets"
# The smallest GPU that each is for.
SMALLEST = {"l4": "l4", "l40s": "l40s", "a100": "a100-40gb", "h100": "h100", "h200": "h200"}
FULL_CONVERSATIONS = 8
SHORT = 1024


def preset(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    return loaded


def fit(name: str, context: int) -> Fit:
    weights = Weights("fp8-dynamic", "FP8_DYNAMIC", WEIGHTS)
    return make_fit(read_gpus([SMALLEST[name]])[0], weights, read_shape(QWEN), Wish(context, 1, 1024, 1024))


def test_every_preset_is_for_a_gpu_that_fit_knows_or_for_none() -> None:
    assert {path.stem for path in PRESETS.glob("*.yaml")} == {*SMALLEST, "cpu-demo"}


@pytest.mark.parametrize("name", SMALLEST)
def test_conversations_of_the_full_context_fit_beside_one_another(name: str) -> None:
    assert fit(name, preset(name)["contextTokens"]).most_sequences >= FULL_CONVERSATIONS


@pytest.mark.parametrize("name", SMALLEST)
def test_no_more_sequences_are_begun_than_fit_when_they_are_short(name: str) -> None:
    assert preset(name)["maxSequences"] <= fit(name, SHORT).most_sequences


@pytest.mark.parametrize("name", SMALLEST)
def test_a_comment_tells_what_fit_says_today(name: str) -> None:
    text = " ".join(line.removeprefix("#").strip() for line in (PRESETS / f"{name}.yaml").read_text().splitlines())
    assert f"says {fit(name, preset(name)['contextTokens']).most_sequences} conversations" in text
    assert str(fit(name, SHORT).most_sequences) in text


@pytest.mark.parametrize("name", SMALLEST)
def test_a_preset_has_fp8_where_its_gpu_multiplies_it(name: str) -> None:
    assert preset(name)["gpu"]["fp8"] == (fit(name, SHORT).runs_as == "W8A8")
