"""What the demo's own commands say when they cannot do what they are asked: one line, never a traceback."""

import runpy
import sys

import pytest


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("demo.check --questions 0", "--questions must be at least 1"),
        ("demo.check --questions 1 --url http://127.0.0.1:9/v1", "check: Connection error."),
        ("demo.lesson.teach --questions 0", "--questions must be at least 1"),
        ("demo.lesson.teach --only int3-vision", "no variant int3-vision: there are bf16, fp8-dynamic, "),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module, *arguments = command.split()
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code != 0
    assert said in f"{capsys.readouterr().err}{ended.value.code}"
