import re
import sys
from pathlib import Path

import pytest

from server.doctor import environments
from server.doctor.environments import CUDA, Torch, check_engine, check_extras, read_torch, wanted_vllm
from server.doctor.finding import Verdict
from server.engine.vllm_build import LaunchError, VllmBuild
from server.settings import Settings

CPU = Torch("2.13.0+cpu", None)


def verdicts(version: str, torch: Torch | None = CPU) -> list[Verdict]:
    build = VllmBuild(Path(sys.executable), version, "cpu")
    return [found.verdict for found in check_engine(build, torch, "0.32.0")]


def test_the_vllm_that_was_tested_is_the_one_that_we_ask_for() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", wanted_vllm())


@pytest.mark.parametrize(("version", "verdict"), [("0.32.0", "ok"), ("0.32.0+cu130", "ok"), ("0.33.0", "warning")])
def test_another_vllm_is_a_warning(version: str, verdict: Verdict) -> None:
    assert verdicts(version) == [verdict, "ok"]


def test_vllm_without_torch_is_a_failure_and_no_vllm_is_a_gateways_machine() -> None:
    assert verdicts("0.32.0", None) == ["ok", "failure"]
    (found,) = check_engine(LaunchError("install it"), None, "0.32.0")
    assert (found.verdict, found.do) == ("warning", "install it")


@pytest.mark.parametrize(
    ("line", "cuda"),
    [
        ("cuda: Optional[str] = '13.0'", ("13", "0")),
        ("cuda = '12.8'", ("12", "8")),
        ("cuda: Optional[str] = None", None),
    ],
)
def test_what_torch_was_built_for_is_read_from_its_file(line: str, cuda: tuple[str, str] | None) -> None:
    match = CUDA.search(f"__version__ = '2.13.0'\ndebug = False\n{line}\ngit_version = 'a'\n")
    assert (match.groups() if match else None) == cuda


def test_an_environment_without_torch_has_none() -> None:
    assert read_torch(Path(sys.executable)) is None
    assert read_torch(Path("/nowhere/python")) is None


def test_extras_are_looked_for_where_settings_ask_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        limits={"store_url": "redis://127.0.0.1"},  # type: ignore[arg-type]
        traces={"endpoint": "http://127.0.0.1:4318"},  # type: ignore[arg-type]
    )
    assert [each.verdict for each in check_extras(settings)] == ["ok", "ok"]
    assert list(check_extras(Settings())) == []
    monkeypatch.setattr(environments, "find_spec", lambda _: None)
    found = list(check_extras(settings))
    assert [(each.verdict, each.do) for each in found] == [
        ("failure", "pip install 'fovea[redis]'"),
        ("failure", "pip install 'fovea[traces]'"),
    ]
