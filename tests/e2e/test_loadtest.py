"""The load test against gateway and real vLLM: pictures come back within conversations, servers tell of them."""

from pathlib import Path

from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.records import read_run
from tests.conftest import Stack


def test_conversations_about_one_picture_are_answered_and_told_of(fp8: Stack, tmp_path: Path) -> None:
    sets = [
        "arrival={kind: poisson, rate: 5}", "duration_s=null", "requests=8", "warm_up_requests=0",
        "conversations={turns: 2, same_picture: true}", "pictures.sizes=[{width: 128, height: 128}]",
        "text={prompt_tokens: {mean: 6}, answer_tokens: {mean: 4}}",
    ]  # fmt: skip
    command = ["run", "multi-turn-inspector", "--url", f"{fp8.url}/v1", "--out", str(tmp_path)]
    for page in (fp8.url, fp8.engine):
        command += ["--metrics", f"{page}/metrics"]
    for each in sets:
        command += ["--set", each]
    done = CliRunner().invoke(app, [*command, "--assert", "error_share<=0"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    run = read_run(tmp_path)
    assert sorted(request.number for request in run.requests) == list(range(8))
    assert len({request.pictures for request in run.requests}) == 4
    prompts = {(request.conversation, request.turn): request.prompt_tokens for request in run.requests}
    for conversation in range(4):
        assert 0 < prompts[conversation, 0] < prompts[conversation, 1]
    assert all(request.output_tokens > 0 for request in run.requests)
    assert {sample.source for sample in run.samples} == {f"{page}/metrics" for page in (fp8.url, fp8.engine)}
