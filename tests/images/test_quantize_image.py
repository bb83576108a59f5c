"""The quantizer's image, built and run: the bundled model in FP8, proved, with a read-only root and no rights."""

import os
from pathlib import Path

from tests.images.containers import inspect, mounted, podman

USER = 10001


def test_it_quantizes_and_proves_the_bundled_model(quantizer: str, tmp_path: Path) -> None:
    os.chown(tmp_path, USER, USER)
    restricted = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    told = ("--network", "none", "--volume", f"{tmp_path}:/models")
    run = podman("run", "--rm", *restricted, *told, quantizer, "run", "/opt/fovea-demo", "/models/fp8")
    assert "weights:" in run.stdout + run.stderr
    assert (tmp_path / "fp8" / "model.safetensors").stat().st_uid == USER
    podman("run", "--rm", *restricted, *told, quantizer, "verify", "/opt/fovea-demo", "/models/fp8")


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
