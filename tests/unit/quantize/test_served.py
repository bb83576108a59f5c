import json
import math
from pathlib import Path

import pytest

from quantize import served
from quantize.errors import ToolFailed
from quantize.served import Compared, Token, compare_served, find_reason, make_prompts, parse_tokens

LOGPROBS = [
    None,
    {"5": {"logprob": -9.0, "rank": 30}, "6": {"logprob": -0.1, "rank": 1}},
    {"7": {"logprob": -0.2, "rank": 1}},
    {"8": {"logprob": -2.0, "rank": 2}, "9": {"logprob": -0.3, "rank": 1}},
]


def test_the_last_tokens_are_read_and_the_likeliest_of_each() -> None:
    assert parse_tokens(LOGPROBS, 2) == [Token(-0.2, "7"), Token(-2.0, "9")]
    assert len(parse_tokens(LOGPROBS, 99)) == 3


def test_prompts_show_every_skill_and_have_answers() -> None:
    prompts = make_prompts()
    assert [prompt.picture is None for prompt in prompts] == [True] * 2 + [False] * 6
    assert all(prompt.answer for prompt in prompts)
    assert prompts == make_prompts()


def answers(monkeypatch: pytest.MonkeyPatch, by_folder: dict[str, list[list[Token]]]) -> None:
    monkeypatch.setattr(served, "ask", lambda folder, *_: iter(by_folder[folder.name]))


def test_differences_are_those_of_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [[Token(-1.0, "1"), Token(-2.0, "2")], [Token(-3.0, "3"), Token(-1.0, "1")]]
    after = [[Token(-1.5, "1"), Token(-2.0, "2")], [Token(-1.0, "4"), Token(-1.0, "1")]]
    answers(monkeypatch, {"a": before, "b": after})
    found = compare_served(Path("a"), Path("b"), {})
    assert found == Compared(8, 4, 0.625, 2.0, 0.75)
    assert found.violations == []
    assert "4 tokens of 8 prompts are 0.625 nats" in found.describe()


@pytest.mark.parametrize("logprob", [-9.0, -math.inf, math.nan])
def test_another_model_is_told_apart(monkeypatch: pytest.MonkeyPatch, logprob: float) -> None:
    answers(monkeypatch, {"a": [[Token(-1.0, "1")]], "b": [[Token(logprob, "1")]]})
    (violation,) = compare_served(Path("a"), Path("b"), {}).violations
    assert "(at most 1.0)" in violation


def test_another_tokenizer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"a": [[Token(-1.0, "1")]], "b": [[]]})
    with pytest.raises(ToolFailed, match="into other tokens for b than for a"):
        compare_served(Path("a"), Path("b"), {})


def test_the_reason_is_the_first_error_that_vllm_logs() -> None:
    said = [
        "WARNING errors like `OSError: [Errno 24] Too many open files`. Consider increasing",
        "(Worker) ERROR 11-21 [executor.py] AttributeError: no kernel",
        "(EngineCore) ERROR 11-21 [core.py] RuntimeError: worker failed",
        "nanobind: leaked",
    ]
    assert find_reason(said) == "AttributeError: no kernel"
    assert find_reason(["x", "ValueError: no config", "  "]) == "ValueError: no config"
    assert find_reason(["fovea engine: cannot listen", " "]) == "fovea engine: cannot listen"
    assert find_reason([]) == "it said nothing"


def test_an_engine_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(ToolFailed, match=r"vLLM does not serve .*it has no config\.json"),
        served.served(tmp_path, {}),
    ):
        pass


def test_an_engine_that_is_gone_is_one_sentence() -> None:
    with pytest.raises(ToolFailed, match="vLLM does not answer"):
        served.post("http://127.0.0.1:9/tokenize", json.loads("{}"))
