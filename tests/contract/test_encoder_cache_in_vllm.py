"""The embedding cache is held to what vLLM really does: what it calls, and its own scheduler with ours in it."""

import json
import os
import subprocess
from typing import Any

import pytest

from server.engine.vllm_command import INSIDE_FOLDER, STARTUP_FOLDER
from tests.conftest import ROOT

ENGINE_PYTHON = ROOT / ".venv" / "engine" / "bin" / "python"

pytestmark = pytest.mark.real


def in_vllm(module: str, *arguments: str) -> Any:
    folders = os.pathsep.join(map(str, (STARTUP_FOLDER, INSIDE_FOLDER, ROOT)))
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": folders}
    command = [str(ENGINE_PYTHON), "-m", f"tests.contract.{module}", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=ROOT, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came to pass in each of vllm_scheduler_scenes.py's scenes."""
    found: dict[str, Any] = in_vllm("vllm_scheduler_scenes", str(tmp_path_factory.mktemp("embeddings")))
    return found


def test_vllm_is_what_the_embedding_cache_was_written_against() -> None:
    assert in_vllm("vllm_calls") == []


def sane(scene: dict[str, Any]) -> None:
    """No picture was missing or another's, and nothing is left over."""
    assert scene["wrong"] == []
    assert (scene["pinned"], scene["live"], scene["in_flight"]) == (0, 0, 0)


def test_after_a_restart_nothing_is_encoded_again(told: dict[str, Any]) -> None:
    first, second = told["restarts"]["first"], told["restarts"]["second"]
    assert (first["encoded"], second["encoded"]) == (10, 0)
    assert second["lookups|hit_disk"] == 10
    sane(first)
    sane(second)


def test_what_leaves_vllm_s_memory_comes_back_from_ours(told: dict[str, Any]) -> None:
    scene = told["evictions"]
    assert scene["encoded"] == 10
    assert scene["lookups|hit_disk"] == 10
    assert scene["lookups|hit_host"] >= 10
    sane(scene)


def test_one_picture_in_many_requests_and_many_times_in_one_is_loaded_once(told: dict[str, Any]) -> None:
    scene = told["one_picture_at_once"]
    assert scene["encoded"] == 0
    assert scene["lookups|hit_disk"] == 1
    sane(scene)


def test_every_rank_loads_and_one_writes(told: dict[str, Any]) -> None:
    scene = told["ranks"]
    assert scene["files"] == 6
    assert (scene["second"]["encoded"], scene["second"]["other"]) == (0, 0)
    assert scene["second"]["lookups|hit_disk"] == 6
    sane(scene["first"])
    sane(scene["second"])


def test_a_name_that_now_stands_for_a_picture_of_another_size_is_encoded(told: dict[str, Any]) -> None:
    scene = told["another_size"]
    assert [scene[name]["encoded"] for name in ("first", "second", "third")] == [1, 1, 0]
    assert scene["second"]["errors|host|unfit"] == 1
    for each in scene.values():
        sane(each)


def test_who_needs_what_cannot_be_read_fails_and_the_engine_lives(told: dict[str, Any]) -> None:
    scene = told["unreadable"]
    assert scene["finished"] == ["error", "length", "length"]
    assert not scene["on"]
    sane(scene)


def test_nothing_older_is_used_once_vllm_has_cleared_its_cache(told: dict[str, Any]) -> None:
    scene = told["cleared"]
    assert scene["finished"] == ["error", "length"]
    assert scene["encoded"] == 1
    assert not scene["on"]
    sane(scene)


def test_a_worker_that_does_not_share_the_memory_turns_the_cache_off(told: dict[str, Any]) -> None:
    scene = told["apart"]
    assert not scene["on"]
    assert scene["errors"] == 0
    sane(scene)


def test_whatever_is_raised_is_not_raised_into_vllm(told: dict[str, Any]) -> None:
    for scene in told["astonished"].values():
        assert scene["finished"] == ["length", "length"]
        assert scene["wrong"] == []
        assert not scene["on"]


def test_random_requests_with_hardly_room_for_anything_see_their_own_pictures(told: dict[str, Any]) -> None:
    for scene in told["anything"]:
        sane(scene)
        assert scene["on"]
        assert scene["errors"] == 0
    happened = {name: sum(scene.get(name, 0) for scene in told["anything"]) for name in (
        "aborted", "preempted", "lookups|hit_disk", "lookups|hit_host", "lookups|miss", "empty",
    )}  # fmt: skip
    assert all(happened.values()), f"a case that this test is for did not come up: {happened}"
    # All 25 pictures by the first engine, a few of them again while they were being written; none by the others.
    encoded = [scene["encoded"] for scene in told["anything"]]
    assert 25 <= encoded[0] < 40
    assert encoded[1:] == [0, 0, 0]
