from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from server.engine import metrics_options as told
from server.engine.vllm_build import VllmBuild
from server.engine.vllm_command import Launch, make_command, make_environ

CPU = VllmBuild(Path("/venv/bin/python"), "0.32.0", "cpu")


def launch(*options: str, metrics: bool = True) -> Launch:
    return Launch("demo/model", "demo", "127.0.0.1", 8000, options, metrics=metrics)


def test_an_engine_tells_our_metrics_unless_it_is_told_not_to() -> None:
    assert told.is_on({})
    assert not told.is_on({told.SWITCH: "off"})
    on, off = (make_command(launch(metrics=each), CPU) for each in (True, False))
    assert on[on.index(told.MIDDLEWARE) - 1] == "--middleware"
    assert not {told.MIDDLEWARE, told.WORKER_EXTENSION} & set(off)
    assert str(told.STAT_LOGGER_FOLDER) not in make_environ({}, CPU, launch(metrics=False))["PYTHONPATH"]


@pytest.mark.parametrize(
    "options",
    [
        ("--distributed-executor-backend", "ray"),
        ("--distributed_executor_backend=ray",),
        ("--nnodes=2",),
        ("-n", "2"),
        ("--config", "engine.yaml"),
    ],
)
def test_workers_on_other_machines_are_not_asked(options: tuple[str, ...]) -> None:
    assert told.WORKER_EXTENSION in make_command(launch(), CPU)
    assert told.WORKER_EXTENSION not in make_command(launch(*options), CPU)


def test_a_callers_own_extension_of_workers_stays() -> None:
    command = make_command(launch("--worker-extension-cls", "theirs.Own"), CPU)
    assert command.count("--worker-extension-cls") == 1
    assert told.WORKER_EXTENSION not in command


@pytest.mark.parametrize("flag", ["--disable-log-stats", "--disable_log_stats"])
def test_an_engine_that_is_to_keep_no_statistics_keeps_none_for_us(flag: str) -> None:
    assert str(told.STAT_LOGGER_FOLDER) not in make_environ({}, CPU, launch(flag))["PYTHONPATH"]


def test_where_plugins_are_chosen_ours_is_among_them() -> None:
    assert "VLLM_PLUGINS" not in make_environ({}, CPU, launch())
    assert make_environ({"VLLM_PLUGINS": "lora"}, CPU, launch())["VLLM_PLUGINS"] == "lora,fovea_kv_usage"
    without = make_environ({"VLLM_PLUGINS": "lora"}, CPU, launch("--disable-log-stats"))
    assert without["VLLM_PLUGINS"] == "lora"


def test_metrics_of_one_server_are_not_kept_in_files() -> None:
    assert told.MULTIPROCESS not in make_environ({told.MULTIPROCESS: "/tmp/metrics"}, CPU, launch())


def test_the_folder_names_the_plugin_to_vllm() -> None:
    found: list[Distribution] = [PathDistribution(each) for each in told.STAT_LOGGER_FOLDER.glob("*.dist-info")]
    [entry] = [entry for each in found for entry in each.entry_points]
    assert (entry.group, entry.name) == ("vllm.stat_logger_plugins", told.STAT_LOGGER)
    module, _, name = entry.value.partition(":")
    assert name in (Path(told.STAT_LOGGER_FOLDER).parent / f"{module}.py").read_text()
