import json
from pathlib import Path

import pytest

from quantize.errors import ToolFailed, UsageError
from quantize.evaluate.endpoint import Endpoint
from quantize.evaluate.public_tasks import (
    find_lmms_eval,
    make_arguments,
    make_task_table,
    read_figures,
    run_tasks,
    task_names,
)

BASE = Endpoint("base", "http://127.0.0.1:1/v1", "m", "sk-secret")
CANDIDATE = Endpoint("candidate", "http://127.0.0.1:2/v1", "m-fp8", "none")
# What lmms-eval 0.7 does as far as we are concerned: reads its arguments, writes *_results.json below the folder.
STAND_IN = """\
import json, os, pathlib, sys
named = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert named["--model"] == "async_openai" and os.environ["OPENAI_API_KEY"]
model = dict(part.split("=", 1) for part in named["--model_args"].split(","))
folder = pathlib.Path(named["--output_path"]) / "x"
folder.mkdir(parents=True)
score = 0.8 if model["model_version"] == "m" else 0.7
results = {task: {"relaxed_overall,none": score, "alias": task} for task in named["--tasks"].split(",")}
(folder / "20261121_results.json").write_text(json.dumps({"results": results}))
"""


def test_known_names_are_translated_and_others_passed_on() -> None:
    assert task_names(["MMMU", "chartqa", "my_task"]) == ["mmmu_val", "chartqa", "my_task"]
    with pytest.raises(UsageError):
        task_names(["--help; rm"])


def test_the_key_is_not_on_the_command_line() -> None:
    arguments = make_arguments(BASE, ["chartqa"], Path("out"), 10)
    assert "model_version=m,base_url=http://127.0.0.1:1/v1" in arguments
    assert arguments[-2:] == ["--limit", "10"]
    assert "secret" not in " ".join(arguments)


def test_a_model_whose_name_would_be_misread_is_refused() -> None:
    with pytest.raises(UsageError, match="no commas"):
        make_arguments(Endpoint("base", "http://a/v1", "a,api_key=x", ""), ["chartqa"], Path("out"), None)


def test_where_lmms_eval_is_missing_it_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="pip install lmms-eval"):
        find_lmms_eval({})
    with pytest.raises(UsageError, match="cannot be run"):
        find_lmms_eval({"FOVEA_LMMS_EVAL_PYTHON": "/nowhere/python"})


def test_both_sides_are_run_and_put_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages" / "lmms_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    said: list[str] = []
    out = tmp_path / "out"
    figures = run_tasks((BASE, CANDIDATE), ["chartqa"], out, None, {"PYTHONPATH": str(package.parent)}, said.append)
    assert figures == {
        "base": {"chartqa": {"relaxed_overall": 0.8}},
        "candidate": {"chartqa": {"relaxed_overall": 0.7}},
    }
    assert json.loads((out / "tasks.json").read_text()) == figures
    assert make_task_table(figures).splitlines()[1].split() == ["chartqa", "relaxed_overall", "0.8000", "0.7000"]


def test_a_run_that_wrote_nothing_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="wrote no results"):
        read_figures(tmp_path)
