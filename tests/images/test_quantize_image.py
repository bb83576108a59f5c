"""The quantizer's image, built and run: the bundled model in FP8, proved, with a read-only root and no rights."""

import os
from pathlib import Path

from tests.chart.release import only, steps
from tests.chart.rendering import NEWEST, rendered
from tests.images.containers import inspect, mounted, podman

USER = 10001


def test_it_quantizes_and_proves_the_bundled_model_as_the_charts_job_tells_it(
    quantizer: str, tmp_path: Path
) -> None:
    os.chown(tmp_path, USER, USER)
    restricted = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    told = ("--network", "none", "--volume", f"{tmp_path}:/models")
    for step in steps(only(rendered(NEWEST, "cpu-demo"), "Job", "quantize")):
        instead = ("--entrypoint", *step["command"]) if "command" in step else ()
        run = podman("run", "--rm", *restricted, *told, *instead, quantizer, *step["args"])
        assert run.stdout, step["name"]
    made = tmp_path / "fovea-demo-fp8"
    assert (made / "model.safetensors").stat().st_uid == USER
    assert (made / "fovea-report.json").exists()


def test_it_has_neither_shell_nor_torch(quantizer: str) -> None:
    with mounted(quantizer) as root:
        programs = {
            path.name for folder in ("bin", "usr/bin", "opt/fovea/bin") for path in (root / folder).glob("*")
        }
        packages = {path.name for path in root.glob("opt/fovea/lib/python*/site-packages/*")}
    assert programs.isdisjoint(("sh", "bash", "dash", "gcc", "pip", "apt-get"))
    assert {"huggingface_hub", "oras", "obstore", "numpy"} <= packages
    assert packages.isdisjoint(("torch", "pip"))
    assert inspect("image", quantizer)["Config"]["Entrypoint"] == ["fovea-quantize"]
