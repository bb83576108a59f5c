"""What the chart computes of a pool's values: arguments, times, strategy, memory, GPUs, volumes."""

from typing import Any

import pytest

from helm.template import Manifest
from server.engine.stopping import ORPHANS_S, SPARE_STOP_S
from tests.chart.rendering import NEWEST, rendered

pytestmark = pytest.mark.usefixtures("helms")


def found(kind: str, name: str) -> Manifest:
    (manifest,) = [
        each for each in rendered(NEWEST, "own-engines") if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return manifest


def deployment(pool: str) -> dict[str, Any]:
    spec: dict[str, Any] = found("Deployment", f"fovea-engine-{pool}")["spec"]
    return spec


def pod(pool: str) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(pool)["template"]["spec"]
    return spec


def engine(pool: str) -> dict[str, Any]:
    (container,) = pod(pool)["containers"]
    assert isinstance(container, dict)
    return container


def volume(pool: str, name: str) -> dict[str, Any]:
    (named,) = [each for each in pod(pool)["volumes"] if each["name"] == name]
    assert isinstance(named, dict)
    return named


def test_a_preset_is_below_the_pool_and_what_the_pool_adds_comes_last() -> None:
    arguments = engine("several")["args"]
    assert arguments[0] == "engine"
    assert {"--model=/models/b", "--name=b", "--max-model-len=8192", "--host=0.0.0.0"} <= set(arguments)
    assert [each for each in arguments if each.startswith("--max-num-seqs")] == [
        "--max-num-seqs=48",
        "--max-num-seqs=7",
    ]
    assert arguments[-1] == "--max-num-seqs=7"


def test_engines_take_what_the_gateway_lets_in() -> None:
    assert '--limit-mm-per-prompt={"image":16,"video":1}' in engine("one")["args"]


def test_gpus_are_counted_by_how_the_model_is_cut_and_are_strings() -> None:
    resources = engine("one")["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "4"
    assert resources["limits"]["memory"] != resources["requests"]["memory"]
    assert "--tensor-parallel-size=4" in engine("one")["args"]
    assert "nvidia.com/gpu" not in engine("uncached")["resources"]["limits"]


def test_where_gpus_are_full_no_new_pod_has_to_come_before_an_old_one_goes() -> None:
    assert deployment("one")["strategy"] == {"type": "Recreate"}
    for pool in ("several", "scaled"):
        assert deployment(pool)["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert deployment("uncached")["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_pod_may_stop_as_long_as_its_engine_may() -> None:
    assert {"--grace=8", "--drain=90"} <= set(engine("one")["args"])
    assert pod("one")["terminationGracePeriodSeconds"] >= 2 + 8 + 90 + SPARE_STOP_S + ORPHANS_S
    liveness = engine("one")["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > 2 + 8 + 90
    assert engine("one")["lifecycle"] == {"preStop": {"sleep": {"seconds": 2}}}


def seconds(probe: dict[str, int]) -> int:
    return probe["periodSeconds"] * probe["failureThreshold"]


def test_an_engine_has_as_long_to_start_as_its_checkpoint_takes_to_read() -> None:
    assert seconds(engine("one")["startupProbe"]) == 300 + 50_000 // 250
    assert seconds(engine("uncached")["startupProbe"]) == 45
    assert deployment("one")["progressDeadlineSeconds"] > seconds(engine("one")["startupProbe"])


def test_embeddings_lie_where_there_is_room_for_them() -> None:
    assert volume("one", "shm")["emptyDir"] == {"medium": "Memory", "sizeLimit": f"{2 * 3072 + 4 * 1024}Mi"}
    claim = volume("one", "embeddings")["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("nvme", "10Gi")
    arguments = engine("one")["args"]
    assert "--embedding-cache=/embeddings" in arguments
    # The volume is never filled: its pod would be evicted.
    assert "--embedding-cache-disk=9216MiB" in arguments
    assert {"--embedding-cache-host=3072MiB", "--embedding-cache-shared-size=20480MiB"} <= set(arguments)
    (shared,) = [each for each in engine("one")["env"] if each["name"] == "FOVEA_EMBEDDING_CACHE_SHARED"]
    assert shared["valueFrom"] == {"secretKeyRef": {"name": "valkey", "key": "url"}}


def test_without_a_disk_of_its_own_the_cache_has_a_small_part_of_the_scratch_one() -> None:
    arguments = engine("several")["args"]
    assert {"--embedding-cache=/tmp/embeddings", "--embedding-cache-disk=1024MiB"} <= set(arguments)


def test_without_host_memory_there_is_no_embedding_cache() -> None:
    assert not [each for each in engine("uncached")["args"] if "embedding" in each]


def test_a_claim_of_ones_own_takes_the_stores_place() -> None:
    assert volume("uncached", "models")["persistentVolumeClaim"] == {"claimName": "mine"}
    assert "--model=/models/x/y" in engine("uncached")["args"]
    assert volume("one", "models")["persistentVolumeClaim"] == {"claimName": "fovea-models"}
    assert "--model=/models/folder" in engine("one")["args"]


def test_a_scaled_pool_leaves_its_replicas_to_who_scales_it() -> None:
    assert "replicas" not in deployment("scaled")
    assert deployment("several")["replicas"] == 3


def test_a_budget_is_made_where_it_blocks_no_drain() -> None:
    budgets = {
        each["metadata"]["name"]
        for each in rendered(NEWEST, "own-engines")
        if each["kind"] == "PodDisruptionBudget"
    }
    assert budgets == {"fovea-gateway", "fovea-engine-several"}


def test_engines_on_cpus_neither_tolerate_gpu_nodes_nor_prefer_them() -> None:
    assert "tolerations" not in pod("uncached")
    assert "affinity" not in pod("uncached")
    assert pod("one")["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "preferredDuringSchedulingIgnoredDuringExecution" in pod("one")["affinity"]["nodeAffinity"]
