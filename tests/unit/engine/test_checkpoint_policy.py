import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from server.engine.checkpoint_policy import Policy, Verdict, look_at, parse_policy, settled
from server.engine.metrics.checkpoint import REPORT

QUANTIZED = {"quantization_config": {"quant_method": "compressed-tensors"}}
WEIGHTS = {"a.weight": 64, "b.weight": 32}
MADE = {"recipe": {"name": "fp8-dynamic"}, "bytes": {"before": 180, "after": 96}}
PROVED = {**MADE, "proof": {"tensors": {"kept": 1}}}
GREEN, RED = {"verdict": "green"}, {"verdict": "red", "breaches": ["ocr: retention 91.0%"]}


def write(folder: Path, report: Any = None, config: Any = QUANTIZED, weights: dict[str, int] = WEIGHTS) -> Path:
    """A checkpoint with its sums, as `fovea-quantize run` leaves one."""
    folder.mkdir(exist_ok=True)
    header, at = {}, 0
    for name, size in weights.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("a card")
    if report is not None:
        (folder / REPORT).write_text(json.dumps(report))
        names = sorted(
            path.name for path in folder.iterdir() if path.name not in ("SHA256SUMS", "fovea-vision.json")
        )
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
        (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    return folder


@pytest.mark.parametrize(
    ("report", "policy", "state", "says"),
    [
        ({"quantize": PROVED}, "verified", "ready", "whole (0.00 GB), recipe fp8-dynamic, proved"),
        ({"quantize": PROVED}, "none", "ready", "proved (none is required)"),
        ({"quantize": PROVED}, "gated", "waiting", "has not been through the sight gate yet"),
        ({"quantize": PROVED, "sight": GREEN}, "gated", "ready", "its sight has passed the gate"),
        ({"quantize": PROVED, "sight": GREEN}, "verified", "ready", "its sight has passed the gate"),
        ({"quantize": MADE, "sight": GREEN}, "gated", "ready", "passed the gate, its bytes not proved"),
        ({"quantize": MADE}, "verified", "refused", "no proof of its bytes: quantize it again"),
        ({"quantize": MADE, "sight": GREEN}, "verified", "refused", "no proof of its bytes"),
        ({"quantize": PROVED, "sight": RED}, "gated", "refused", "failed the sight gate (ocr: retention 91.0%)"),
        ({"quantize": PROVED, "sight": RED}, "verified", "refused", "serve another checkpoint"),
        ({"quantize": PROVED, "sight": RED}, "none", "ready", "its sight has FAILED the gate (none is required)"),
        ({"quantize": PROVED, "sight": RED}, "trial", "ready", "its sight has FAILED the gate"),
        ({"quantize": PROVED}, "trial", "ready", "proved"),
        ({"quantize": MADE}, "trial", "refused", "no proof of its bytes"),
        (None, "verified", "waiting", "has no fovea-report.json yet"),
        (None, "gated", "waiting", "has no fovea-report.json yet"),
        (None, "none", "ready", "quantized by somebody else, and nothing is known of it"),
        ([], "verified", "refused", "is no report of fovea-quantize"),
    ],
)
def test_the_report_decides(tmp_path: Path, report: Any, policy: Policy, state: str, says: str) -> None:
    verdict = look_at(write(tmp_path / "c", report), policy)
    assert (verdict.state, says in verdict.sentence) == (state, True), verdict
    assert "\n" not in verdict.sentence


@pytest.mark.parametrize("policy", ["verified", "gated"])
def test_a_plain_checkpoint_is_refused_at_once_unless_nothing_is_required(tmp_path: Path, policy: Policy) -> None:
    folder = write(tmp_path / "c", config={})
    verdict = look_at(folder, policy)
    assert (verdict.state, "is not quantized and has no fovea-report.json" in verdict.sentence) == ("refused", True)
    told = look_at(folder, "none")
    assert (told.state, "not quantized, and nothing is known of it" in told.sentence) == ("ready", True)


def test_what_is_not_there_whole_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    assert look_at(folder, "none") == Verdict("waiting", f"{folder} is not there yet")
    folder.mkdir()
    assert look_at(folder, "none").sentence.endswith("has no config.json yet")
    write(folder, {"quantize": PROVED})
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    verdict = look_at(folder, "none")
    assert (verdict.state, "is not whole yet" in verdict.sentence) == ("waiting", True)
    (folder / "model.safetensors").write_bytes(whole)
    assert look_at(folder, "verified").state == "ready"
    for name in ("SHA256SUMS", "tokenizer.json"):
        (folder / name).rename(tmp_path / "away")
        verdict = look_at(folder, "verified")
        assert (verdict.state, name in verdict.sentence) == ("waiting", True)
        (tmp_path / "away").rename(folder / name)


def test_a_report_of_other_files_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED})
    write(folder, weights={"a.weight": 64, "b.weight": 33})
    verdict = look_at(folder, "verified")
    assert (verdict.state, "96 bytes of weights, and 97 are there" in verdict.sentence) == ("refused", True)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", REPORT])
def test_a_file_that_is_not_the_one_that_was_proved_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED})
    (folder / name).write_text((folder / name).read_text() + " ")
    verdict = look_at(folder, "verified")
    assert (verdict.state, f"{name} is not the file that" in verdict.sentence) == ("refused", True)


def test_a_card_may_be_edited_and_what_engines_note_is_no_part_of_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED})
    (folder / "README.md").write_text("another card")
    (folder / "fovea-vision.json").write_text("{}")
    assert look_at(folder, "verified").state == "ready"


@pytest.mark.parametrize(
    "line", ["no sum", f"{'0' * 64}  ../outside", f"{'0' * 64}  /dev/zero", f"{'0' * 63}  config.json"]
)
def test_sums_that_are_damaged_are_refused(tmp_path: Path, line: str) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED})
    with (folder / "SHA256SUMS").open("a") as stream:
        stream.write(line + "\n")
    verdict = look_at(folder, "verified")
    assert (verdict.state, "SHA256SUMS is damaged" in verdict.sentence) == ("refused", True)


def test_weights_that_the_sums_do_not_know_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", {"quantize": PROVED})
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if "model.safetensors" not in line))
    verdict = look_at(folder, "verified")
    assert (verdict.state, "does not know model.safetensors" in verdict.sentence) == ("refused", True)


def test_the_verdict_on_a_checkpoint_of_somebody_elses_needs_no_sums(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", {"sight": GREEN})
    (folder / "SHA256SUMS").unlink()
    assert look_at(folder, "gated").state == "ready"
    assert look_at(folder, "verified").state != "ready"


def test_what_is_being_written_is_not_refused_before_it_stays_as_it_is(tmp_path: Path) -> None:
    """The gate writes the report first, then its line in SHA256SUMS."""
    folder, waits = write(tmp_path / "c", {"quantize": PROVED}), 0
    (folder / REPORT).write_text(json.dumps({"quantize": PROVED, "sight": GREEN}))

    def wait(_: float) -> None:
        nonlocal waits
        waits += 1
        write(folder, {"quantize": PROVED, "sight": GREEN})

    assert look_at(folder, "gated").state == "refused"
    assert settled(folder, "gated", wait).state == "ready"
    assert waits == 1
    (folder / "config.json").write_text("{ }")
    assert settled(folder, "gated", lambda _: None).state == "refused"


def test_policies_are_read() -> None:
    assert parse_policy("gated") == "gated"
    with pytest.raises(ValueError, match="'green' is none of verified, gated, trial, none"):
        parse_policy("green")
