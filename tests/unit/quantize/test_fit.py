import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantize.cli import app
from quantize.errors import UnsupportedCheckpoint, UsageError
from quantize.fit import Fit, Weights, Wish, make_fit, read_gpus, vllm_flags
from quantize.model_shape import ModelShape, read_shape
from tests.unit.quantize.checkpoints import toy, write_checkpoint

TEXT = {
    "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256, "hidden_size": 4096,
    "intermediate_size": 12288, "vocab_size": 248320, "num_hidden_layers": 32, "full_attention_interval": 4,
    "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
    "linear_num_value_heads": 32, "linear_conv_kernel_dim": 4, "max_position_embeddings": 262144,
    "mamba_ssm_dtype": "float32",
}  # fmt: skip
VISION = {"patch_size": 16, "spatial_merge_size": 2, "hidden_size": 1152, "intermediate_size": 4304}
QWEN = {"model_type": "qwen3_5", "text_config": TEXT, "vision_config": VISION}
WEIGHTS = 13_520_000_000
WISH = Wish(8192, 8, 1024, 1024)


def fit(gpu: str, wish: Wish = WISH, weights: int = WEIGHTS, shape: ModelShape | None = None) -> Fit:
    return make_fit(
        read_gpus([gpu])[0], Weights("fp8-dynamic", "FP8_DYNAMIC", weights), shape or read_shape(QWEN), wish
    )


def test_qwen3_5_9b_takes_32_kib_a_token_and_104_mb_a_conversation() -> None:
    shape = read_shape(QWEN)
    assert shape.layer_types.count("full_attention") == 8
    assert shape.state * 24 == 51_511_296
    assert shape.block_tokens(2) == 528
    assert shape.kv_bytes(528 * 3, 2, 4096) == 528 * 3 * 32 * 1024
    assert shape.kv_bytes(528 * 3 + 1, 2, 4096) == 528 * 4 * 32 * 1024
    assert shape.state_bytes(2) == 2 * 24 * 528 * 4096


def test_an_fp8_kv_cache_takes_half_a_token() -> None:
    shape = read_shape(QWEN)
    assert shape.kv_bytes(1056 * 4, 1, 0) * 2 == shape.kv_bytes(1056 * 4, 2, 0)


def test_a_sliding_layer_keeps_its_window_and_what_is_in_flight() -> None:
    text = {**TEXT, "layer_types": ["sliding_attention"] * 5 + ["full_attention"], "sliding_window": 1024}
    del text["linear_num_value_heads"]
    shape = read_shape({"text_config": text})
    assert shape.kv_bytes(16384, 2, 4096) == (5 * (1024 + 4096 + 16) + 16384) * 4096
    assert shape.kv_bytes(512, 2, 4096) == (5 * (512 + 16) + 512) * 4096
    assert shape.state_bytes(2) == 0


def test_a_plain_model_attends_in_every_layer() -> None:
    shape = read_shape({"num_attention_heads": 8, "hidden_size": 512, "num_hidden_layers": 3, "vocab_size": 10})
    assert shape.kv_bytes(16, 2, 0) == 3 * 16 * 2 * 512 * 2


def test_a_config_that_says_too_little_is_refused() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="num_attention_heads"):
        read_shape({"text_config": {}})


def test_the_terms_are_the_sum_and_the_limits_are_the_last_that_fit() -> None:
    found = fit("l4")
    assert found.fits
    assert found.terms["weights"] == WEIGHTS
    assert found.needed == sum(found.terms.values()) <= found.gpu.usable
    more = {wish: fit("l4", wish) for wish in (Wish(8192, found.most_sequences - 1, 1024, 1024), WISH)}
    assert all(each.needed <= each.gpu.usable for each in more.values())
    beyond = fit("l4", Wish(8192, found.most_sequences + 2, 1024, 1024))
    assert not beyond.fits
    assert beyond.needed > beyond.gpu.usable
    assert fit("l4", Wish(found.most_context, 8, 1024, 1024)).fits
    assert not fit("l4", Wish(found.most_context + 529, 8, 1024, 1024)).fits


def test_what_is_too_large_fits_nothing() -> None:
    found = fit("t4", weights=18_820_000_000)
    assert (found.fits, found.most_context, found.most_sequences) == (False, 0, 0)


def test_a_context_is_never_longer_than_the_models_own() -> None:
    assert fit("h200").most_context == 262144 // 528 * 528


def test_memory_that_is_shared_leaves_the_system_its_part() -> None:
    orin, t4 = read_gpus(["orin-16gb", "t4"])
    assert orin.memory_mib > t4.memory_mib
    assert orin.usable < t4.usable


@pytest.mark.parametrize(
    ("gpu", "how"), [("t4", "W8A16"), ("a10g", "W8A16"), ("a100-80gb", "W8A16"), ("l4", "W8A8"), ("h100", "W8A8")]
)
def test_only_newer_gpus_multiply_in_fp8(gpu: str, how: str) -> None:
    assert fit(gpu).runs_as == how


def test_other_schemes_run_as_they_are() -> None:
    (t4,) = read_gpus(["t4"])
    assert [t4.runs("W8A8"), t4.runs("W4A16"), t4.runs(None)] == ["W8A8", "W4A16", "FP16"]


def test_flags_say_what_was_wished() -> None:
    assert vllm_flags(fit("l4", Wish(4096, 4, 512, 512, kv_bytes=1))) == [
        "--max-model-len 4096",
        "--max-num-seqs 4",
        "--gpu-memory-utilization 0.92",
        "--kv-cache-dtype fp8",
    ]
    assert "--dtype float16" in vllm_flags(fit("t4"))


def test_an_unknown_gpu_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="no GPU 'voodoo' is known: there are t4, orin-16gb"):
        read_gpus(["voodoo"])


def test_the_command_compares_recipes_and_gpus(tmp_path: Path) -> None:
    source = str(write_checkpoint(tmp_path / "m", toy(), text_config=TEXT, vision_config=VISION))
    told = CliRunner().invoke(app, ["fit", source, "--gpu", "l4,t4"])
    assert told.exit_code == 0
    assert told.stdout.count("fits") == 2 * (1 + 3 + 1)
    assert "w4a16 is left out: " in told.stderr
    assert "needs = weights 0.00 + activations " in told.stdout
    told = CliRunner().invoke(app, ["fit", source, "--gpu", "l4,t4", "--recipe", "w4a16"])
    assert (told.exit_code, "columns, no multiple of w4a16's group_size of 128" in told.output) == (4, True)
    asked = ["fit", source, "--gpu", "l4", "--recipe", "bf16,fp8-dynamic", "--json"]
    told = CliRunner().invoke(app, asked)
    bf16, fp8 = json.loads(told.output)
    mtp = 8 * 16 * 2
    assert bf16["terms"]["weights"] == sum(len(data) for _, _, data in toy().values()) - mtp
    assert fp8["terms"]["weights"] < bf16["terms"]["weights"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpu", "voodoo"], "no GPU 'voodoo'"),
        (["--image", "big"], "'big' is not a size like 1024x768"),
        (["--kv-dtype", "int3"], "--kv-dtype int3: there are bf16, fp8"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    source = str(write_checkpoint(tmp_path / "m", toy(), text_config=TEXT, vision_config=VISION))
    told = CliRunner().invoke(app, ["fit", source, *options])
    assert (told.exit_code, said in told.output) == (2, True)
