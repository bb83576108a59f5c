"""What real vLLM's /metrics tells beside vLLM's own figures, held against those and against the files."""

import json
import re
import struct
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Stack

GIB = 1 << 30
ANSWER = {"prompt": "a b c", "max_tokens": 200, "ignore_eos": True}


class Told:
    """One scrape. `of` is the only sample's value, of those that have these labels."""

    def __init__(self, stack: Stack) -> None:
        answer = httpx2.get(f"{stack.engine}/metrics", timeout=60)
        assert answer.status_code == 200
        self._samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]

    def of(self, name: str, **labels: str) -> float:
        [value] = [
            each.value for each in self._samples if each.name == name and labels.items() <= each.labels.items()
        ]
        return value

    def labels(self, name: str) -> dict[str, str]:
        [found] = [each.labels for each in self._samples if each.name == name]
        return dict(found)

    def by(self, label: str, name: str) -> dict[str, float]:
        return {each.labels[label]: each.value for each in self._samples if each.name == name}


@pytest.fixture(params=["fp8", "bf16"])
def stack(request: pytest.FixtureRequest, stacks: dict[str, Stack]) -> Stack:
    return stacks[request.param]


def said(stack: Stack, pattern: str) -> int:
    """A number in vLLM's log, which is where vLLM tells of it."""
    stack.engine  # noqa: B018 - waits until the engine has said all of this
    found = stack.process.wait_for(pattern, 60)
    return int(found.group(1).replace(",", ""))


def test_the_kv_cache_holds_what_vllm_says_that_it_holds(stack: Stack) -> None:
    told = Told(stack)
    tokens = told.of("fovea_kv_cache_capacity_tokens", model_name=stack.model)
    assert tokens == said(stack, r"KV cache size: ([\d,]+) tokens")
    theirs = told.labels("vllm:cache_config_info")
    assert tokens == int(theirs["kv_cache_size_tokens"])
    held = told.of("fovea_kv_cache_capacity_bytes")
    assert 0.9 * GIB < held <= GIB  # VLLM_CPU_KVCACHE_SPACE
    assert held % int(theirs["num_gpu_blocks"]) == 0


def test_the_most_that_was_ever_used_is_kept_when_nothing_is_used_any_more(stack: Stack) -> None:
    httpx2.post(
        f"{stack.engine}/v1/completions", json={"model": stack.model, **ANSWER}, timeout=300
    ).raise_for_status()
    told = Told(stack)
    peak, capacity = told.of("fovea_kv_cache_high_water_tokens"), told.of("fovea_kv_cache_capacity_tokens")
    # vLLM counts whole blocks: one token takes one.
    assert capacity / int(told.labels("vllm:cache_config_info")["num_gpu_blocks"]) * 0.9 < peak <= capacity
    # What other tests have left running may go on between the two.
    assert any(uses_what_vllm_uses(Told(stack)) for _ in range(60))


def uses_what_vllm_uses(told: Told) -> bool:
    share = told.of("vllm:kv_cache_usage_perc")
    return all(
        told.of(f"fovea_kv_cache_used_{unit}") == round(share * told.of(f"fovea_kv_cache_capacity_{unit}"))
        for unit in ("tokens", "bytes")
    )


def test_vllms_own_encoder_cache_is_as_large_as_vllm_makes_it(stack: Stack) -> None:
    told, config = Told(stack), json.loads((stack.checkpoint / "config.json").read_text())
    tokens = told.of("fovea_encoder_memory_capacity_tokens")
    # As many as a step computes, unless one picture takes more; of the demo model's none does.
    assert tokens == said(stack, r"'compile_ranges_endpoints': \[(\d+)\]")
    assert told.of("fovea_encoder_memory_capacity_bytes") == tokens * config["vision_config"]["out_hidden_size"] * 2


def test_weights_are_as_large_as_their_files(stack: Stack) -> None:
    told = Told(stack)
    parts, types = told.by("component", "fovea_weights_bytes"), told.by("precision", "fovea_checkpoint_bytes")
    assert sum(parts.values()) == sum(types.values()) == payload_bytes(stack.checkpoint)
    assert parts.keys() >= {"vision", "language", "lm_head", "embeddings"}


def payload_bytes(checkpoint: Path) -> int:
    total = 0
    for path in checkpoint.glob("*.safetensors"):
        (header,) = struct.unpack("<Q", path.read_bytes()[:8])
        total += path.stat().st_size - 8 - header
    return total


def test_what_was_quantized_is_smaller_and_sight_is_as_large_as_it_was(fp8: Stack, bf16: Stack) -> None:
    small, large = (Told(each).by("component", "fovea_weights_bytes") for each in (fp8, bf16))
    assert small["vision"] == large["vision"]
    assert small["language"] < large["language"]
    assert Told(fp8).by("precision", "fovea_checkpoint_bytes").keys() == {"bf16", "f8_e4m3"}


def test_the_checkpoint_that_is_served_says_how_it_was_made(fp8: Stack, bf16: Stack) -> None:
    made = {"recipe": "fp8-dynamic", "quantization": "compressed-tensors", "report": "verified"}
    assert Told(fp8).labels("fovea_checkpoint_info") == {"model_name": fp8.model, **made}
    plain = {"recipe": "none", "quantization": "none", "report": "none"}
    assert Told(bf16).labels("fovea_checkpoint_info") == {"model_name": bf16.model, **plain}
    assert Told(fp8).of("fovea_sight_report") == 0


def test_memory_is_that_of_vllms_processes_and_of_this_machine(stack: Stack) -> None:
    told = Told(stack)
    resident = told.by("process", "fovea_engine_process_memory_bytes")
    assert resident.keys() == {"api", "core", "worker"}
    assert min(resident.values()) > 50e6
    assert sum(resident.values()) < told.of("fovea_host_memory_total_bytes")
    assert 0 <= told.of("fovea_host_memory_available_bytes") < told.of("fovea_host_memory_total_bytes")


def test_the_engine_says_what_it_is(stack: Stack) -> None:
    versions = Told(stack).labels("fovea_engine_info")
    assert re.match(r"\d+\.\d+", versions["version"])
    assert versions["vllm"].startswith("0.32.")


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_vllms_other_way_to_its_metrics_has_ours_too(bf16: Stack, path: str) -> None:
    found = httpx2.get(f"{bf16.engine}{path}", timeout=60).text
    assert "\nfovea_kv_cache_capacity_tokens{" in found
    assert "\nvllm:num_requests_running{" in found
