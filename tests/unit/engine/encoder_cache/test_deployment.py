from types import SimpleNamespace
from typing import Any

import pytest

from server.engine.encoder_cache import deployment
from server.engine.encoder_cache.checkpoint import NoFingerprint
from server.engine.encoder_cache.deployment import namespace_in, namespace_of, obstacle_of, read_deployment


def config(**sections: dict[str, Any]) -> Any:
    """vLLM's, as far as it is read."""
    defaults: dict[str, dict[str, Any]] = {
        "model_config": {"multimodal_config": object(), "is_encoder_decoder": False, "dtype": "torch.bfloat16"},
        "parallel_config": {
            "nnodes": 1, "distributed_executor_backend": "mp", "tensor_parallel_size": 2,
            "prefill_context_parallel_size": 1,
        },
        "ec_manager_config": {"encoder_cache_manager_cls": None},
        "ec_transfer_config": {"engine_id": "an-id"},
        "scheduler_config": {"max_num_batched_tokens": 512},
    }  # fmt: skip
    made = {name: SimpleNamespace(**fields | sections.get(name, {})) for name, fields in defaults.items()}
    return SimpleNamespace(**made)


def test_an_engine_on_one_machine_is_no_obstacle() -> None:
    found = read_deployment(config())
    assert (found.obstacle, found.dtype, found.loading_ranks) == ("", "bfloat16", 2)
    assert found.window_tokens >= 512


@pytest.mark.parametrize(
    ("section", "field", "value", "says"),
    [
        ("model_config", "multimodal_config", None, "takes no pictures"),
        ("model_config", "is_encoder_decoder", True, "encoder-decoder"),
        ("parallel_config", "nnodes", 2, "other machines"),
        ("parallel_config", "distributed_executor_backend", "ray", "executor ray"),
        ("parallel_config", "distributed_executor_backend", "external_launcher", "executor external_launcher"),
        ("ec_manager_config", "encoder_cache_manager_cls", "their.Own", "another manager"),
    ],
)
def test_where_promises_could_not_be_kept_there_is_no_cache(
    section: str, field: str, value: object, says: str
) -> None:
    assert says in obstacle_of(config(**{section: {field: value}}))


def test_without_a_fingerprint_all_processes_of_the_engine_have_a_namespace_that_no_other_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise NoFingerprint("weights of the format dummy cannot be hashed")

    monkeypatch.setattr(deployment, "fingerprint_of_engine", refuse)
    here, there = namespace_of(config()), namespace_of(config())
    other = namespace_of(config(ec_transfer_config={"engine_id": "another"}))
    assert here == there
    assert here[1]
    assert other[0] != here[0]
    assert len(here[0]) == 64


def test_what_was_rounded_is_kept_apart_from_what_was_not() -> None:
    exact = "ab" * 32
    assert namespace_in(exact, "raw") == exact
    rounded = namespace_in(exact, "fp8-row")
    assert rounded[:16] != exact[:16]
    assert len(bytes.fromhex(rounded)) == 32
    assert rounded == namespace_in(exact, "fp8-row") != namespace_in("cd" * 32, "fp8-row")
