import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quantize import run as runs
from quantize import stream
from quantize.architecture import find_architecture
from quantize.checkpoint import read_config, read_tensors
from quantize.errors import DiskError, OutputBusy, PlanViolated, QuantizeError, UsageError
from quantize.findings import Findings
from quantize.plan import Plan, make_plan
from quantize.recipe import read_recipe
from quantize.staging import staged
from quantize.verify import verify_files
from tests.unit.quantize.checkpoints import LAYER, toy, weights, write_checkpoint, write_hollow, write_shards

SHARDS = 4


def plan_of(folder: Path, recipe: str = "fp8-dynamic") -> Plan:
    return make_plan(folder, read_recipe(recipe), find_architecture(read_config(folder)))


def run(folder: Path, out: Path, recipe: str = "fp8-dynamic", said: list[str] | None = None) -> Findings:
    say: Callable[[str], None] = (said if said is not None else []).append
    findings = runs.run_plan(plan_of(folder, recipe), out, "stream", 2, True, {}, say)
    assert findings is not None
    return findings


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_a_whole_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    source = write_shards(tmp_path / "m", toy(), SHARDS)
    (source / "sub").mkdir()
    (source / "sub" / "notes.txt").write_text("x")
    findings = run(source, tmp_path / "out")
    assert (findings.kept, len(findings.quantized)) == (13, 7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "out"]
    made = files(tmp_path / "out")
    assert made.keys() == files(source).keys() | {"SHA256SUMS", "fovea-report.json"}
    assert made["sub/notes.txt"] == b"x"
    index = json.loads(made["model.safetensors.index.json"])
    assert index["weight_map"].keys() == read_tensors(tmp_path / "out").keys()
    assert index["metadata"]["total_size"] == plan_of(source).after
    assert list(verify_files(plan_of(source), tmp_path / "out")) == []


def test_the_sums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    run(write_checkpoint(tmp_path / "m", toy()), tmp_path / "out")
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "out", capture_output=True).returncode == 0


def test_the_report_says_how_it_was_made(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    findings = run(source, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "fovea-report.json").read_text())["quantize"]
    assert told["recipe"]["name"] == "fp8-dynamic"
    assert told["bytes"] == {"before": plan_of(source).before, "after": plan_of(source).after}
    assert told["proof"]["sight"] == {"bit_identical_tensors": 2, "sha256": findings.sight_sha256}
    assert told["proof"]["tensors"] == {"kept": 13, "rescaled": 0, "quantized": 7}


def test_the_proof_can_be_left_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    run(source, tmp_path / "proved")
    monkeypatch.delattr(runs, "verify_weights")
    assert runs.run_plan(plan_of(source), tmp_path / "out", "stream", 1, False, {}, print) is None
    assert json.loads((tmp_path / "out" / "fovea-report.json").read_text())["quantize"]["proof"] is None
    same = {name: data for name, data in files(tmp_path / "proved").items() if name.endswith(".safetensors")}
    assert same.items() <= files(tmp_path / "out").items()


def test_sight_has_the_same_hash_under_every_recipe_and_another_in_another_model(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    hashes = {
        run(source, tmp_path / recipe, recipe).sight_sha256 for recipe in ("fp8-dynamic", "fp8-dynamic-compact")
    }
    name = "model.visual.blocks.0.attn.qkv.weight"
    other = write_checkpoint(tmp_path / "other", {**toy(), name: weights("another", *toy()[name][1])})
    assert len(hashes) == 1
    assert run(other, tmp_path / "out").sight_sha256 not in hashes


KILLED = """
import os, signal, sys
from pathlib import Path
from quantize import stream
from tests.unit.quantize.test_run import run
real, calls = stream.{where}, 0
def dies(*arguments):
    global calls
    calls += 1
    if calls == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
stream.{where} = dies
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("where", "after"), [("quantize_into", 1), ("quantize_into", 5), ("write_all", 7), ("hash_file", 3)]
)
def test_a_killed_run_goes_on_and_loses_at_most_one_weight_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, after: int
) -> None:
    source = write_shards(tmp_path / "m", toy(), SHARDS)
    run(source, tmp_path / "unbroken")
    program = KILLED.format(where=where, after=after)
    killed = subprocess.run([sys.executable, "-c", program, source, tmp_path / "out"], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out").exists()
    whole = list((tmp_path / ".out.part").glob("*.safetensors"))
    done = [json.loads(line) for line in (tmp_path / ".out.part" / "journal.jsonl").read_text().splitlines()[1:]]
    assert len(whole) - len(done) in (0, 1)
    written, real = [], stream.write_weights
    monkeypatch.setattr(stream, "write_weights", lambda path, *rest: written.append(path.name) or real(path, *rest))
    said: list[str] = []
    run(source, tmp_path / "out", said=said)
    assert len(written) == SHARDS - len(done)
    assert (f"going on: {len(done)} of {SHARDS} weight files are done" in said) == bool(done)
    assert files(tmp_path / "out") == files(tmp_path / "unbroken")


def test_a_run_of_another_recipe_does_not_go_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_shards(tmp_path / "m", toy(), SHARDS)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs, "write_rest", stop)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out")
    with pytest.raises(UsageError, match=r"results of another run \(recipe differ\)"):
        run(source, tmp_path / "out", "fp8-dynamic-compact")
    run(source, tmp_path / "out")


def test_two_runs_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    with (
        staged(source, tmp_path / "out", {}),
        pytest.raises(OutputBusy, match="another run is writing"),
    ):
        run(source, tmp_path / "out")


def test_an_existing_target_is_never_touched(tmp_path: Path) -> None:
    source, out = write_checkpoint(tmp_path / "m", toy()), tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(UsageError, match="exists already"):
        run(source, out)
    with pytest.raises(UsageError, match="inside the source"):
        run(source, source / "out")
    assert files(out) == {"precious": b"x"}


def test_too_small_a_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.terminal_size((0, 0)) and type("U", (), {"free": 5}))
    with pytest.raises(DiskError, match=r"has 0\.00 GB free, 0\.02 are needed"):
        run(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    with pytest.raises(DiskError, match=r"cannot write /sys/fovea/\.out\.part: "):
        run(source, Path("/sys/fovea/out"))


@pytest.mark.parametrize("where", ["copy_file", "replace_file", "write_sums"])
def test_a_disk_that_fills_up_late_is_one_sentence_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    source = write_shards(tmp_path / "m", toy(), SHARDS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(runs, where, full)
        with pytest.raises(DiskError, match="No space left on device; then run the same command again"):
            run(source, tmp_path / "out")
    said: list[str] = []
    run(source, tmp_path / "out", said=said)
    assert f"going on: {SHARDS} of {SHARDS} weight files are done" in said


def test_output_that_breaks_its_promise_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    monkeypatch.setattr(runs, "verify_weights", lambda *_: Findings(violations=["x: changed"]))
    with pytest.raises(PlanViolated, match=r"nothing was published:\n  x: changed"):
        run(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_every_refusal_has_a_code_of_its_own() -> None:
    def kinds(of: type[QuantizeError]) -> list[type[QuantizeError]]:
        return [of, *(found for each in of.__subclasses__() for found in kinds(each))]

    codes = [kind.exit_code for kind in kinds(QuantizeError)]
    assert len(codes) == len(set(codes))


def test_a_run_holds_little_memory_whatever_the_size(tmp_path: Path) -> None:
    """A kept and a quantized matrix of 200 MB each, where a chunk has 8: the whole program stays below 256 MB."""
    source = tmp_path / "m"
    source.mkdir()
    (source / "config.json").write_text('{"model_type": "qwen3_5"}')
    big = [(f"{LAYER}.mlp.up_proj.weight", "BF16", (25_000, 4_000)), ("lm_head.weight", "BF16", (25_000, 4_000))]
    write_hollow(source / "model.safetensors", big)
    program = (
        "import re, sys; from pathlib import Path; from tests.unit.quantize.test_run import run;"
        "run(Path(sys.argv[1]), Path(sys.argv[2]));"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, source, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 256_000
