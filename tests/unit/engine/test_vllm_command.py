from dataclasses import replace
from pathlib import Path

import pytest

from server.engine.cache_options import CacheOptions
from server.engine.vllm_build import VllmBuild
from server.engine.vllm_command import (
    INSIDE_FOLDER,
    VLLM_SERVER,
    Launch,
    drain_of,
    make_command,
    make_environ,
    tool_parser_of,
)

CPU = VllmBuild(Path("/venv/bin/python"), "0.32.0", "cpu")
CUDA = VllmBuild(Path("/venv/bin/python"), "0.32.0", "cuda")


def launch(*options: str) -> Launch:
    return Launch("demo/model", "demo", "127.0.0.1", 8000, options)


def value_of(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_engine_is_told_to_fetch_from_nowhere() -> None:
    for build in (CPU, CUDA):
        assert value_of(make_command(launch(), build), "--allowed-media-domains").endswith(".invalid")
        assert make_environ({}, build, launch())["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"


def test_small_machine_defaults_are_for_the_cpu_only() -> None:
    assert "--enforce-eager" in make_command(launch(), CPU)
    assert "--enforce-eager" not in make_command(launch(), CUDA)
    assert [Path(each).name for each in make_environ({}, CUDA, launch())["PYTHONPATH"].split(":")] == [
        "inside",
        "stat_logger",
    ]
    on_cpu = make_environ({}, CPU, launch())["PYTHONPATH"].split(":")
    assert [Path(each).name for each in on_cpu] == ["startup", "inside", "stat_logger"]


@pytest.mark.parametrize("options", [("--max-num-seqs", "4"), ("--max-num-seqs=4",), ("--max_num_seqs=4",)])
def test_a_callers_flag_takes_the_place_of_our_default(options: tuple[str, ...]) -> None:
    command = make_command(launch(*options), CPU)
    assert "16" not in command
    assert command[-len(options) :] == list(options)


def test_a_callers_negation_does_too() -> None:
    assert "--enforce-eager" not in make_command(launch("--no-enforce-eager"), CPU)


def test_a_node_of_workers_is_no_server_and_has_no_extension_that_others_might_lack() -> None:
    nodes = ("--nnodes=2", "--node-rank=1", "--master-addr=10.0.0.1", "--headless")
    command = make_command(launch(*nodes), CUDA)
    assert command[1:3] == ["-m", "fovea_headless"]
    assert "--worker-extension-cls" not in command
    assert (INSIDE_FOLDER / "fovea_headless.py").is_file()
    assert make_command(launch(*nodes[:-1]), CUDA)[1:3] == ["-m", VLLM_SERVER]


def test_a_callers_environment_wins() -> None:
    made = make_environ({"VLLM_CPU_KVCACHE_SPACE": "8", "PYTHONPATH": "/mine"}, CPU, launch())
    assert made["VLLM_CPU_KVCACHE_SPACE"] == "8"
    assert made["PYTHONPATH"].endswith(":/mine")


@pytest.mark.parametrize(
    ("template", "parser"),
    [("<tool_call>{...}", "hermes"), ("<tool_call><function=", "qwen3_coder"), ("plain", None)],
)
def test_the_tool_parser_follows_the_chat_template(tmp_path: Path, template: str, parser: str | None) -> None:
    (tmp_path / "chat_template.jinja").write_text(template)
    assert tool_parser_of(tmp_path) == parser


def test_what_runs_has_the_time_that_was_given_here_or_to_vllm() -> None:
    assert value_of(make_command(launch(), CPU), "--shutdown-timeout") == "15"
    given = Launch("demo/model", "demo", "127.0.0.1", 8000, ("--shutdown-timeout", "40"), drain_s=20)
    assert make_command(given, CPU).count("--shutdown-timeout") == 1
    assert (drain_of(given), drain_of(launch("--shutdown_timeout=7")), drain_of(launch())) == (40, 7, 15)


def test_an_engine_that_keeps_embeddings_tells_of_them_and_can_forget_them() -> None:
    without, kept = (make_command(replace(launch(), embedding_cache=each), CPU) for each in (None, CacheOptions()))
    assert "fovea_embeddings.Embeddings" not in without
    assert kept[kept.index("fovea_embeddings.Embeddings") - 1] == "--middleware"


@pytest.mark.parametrize("options", [(), ("--middleware", "theirs.Own")])
def test_ours_is_among_the_middleware_whatever_the_caller_adds(options: tuple[str, ...]) -> None:
    """Without it vLLM would end at the signal that is meant for it."""
    command = make_command(launch(*options), CPU)
    assert value_of(command, "--middleware") == "fovea_leaving.Leaving"
