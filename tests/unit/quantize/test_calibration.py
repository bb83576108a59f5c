import json
from pathlib import Path

import pytest
from PIL import Image

from quantize.calibration import DESCRIBE, GREY, DrawnSamples, OwnSamples, find_samples, write_samples
from quantize.errors import UsageError
from quantize.evaluate.suite import SEED as EVALUATED
from tests.unit.quantize.checkpoints import toy, write_checkpoint
from tests.unit.quantize.test_cli import fovea


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def picture(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path)


def test_drawn_samples_are_of_every_skill_and_not_what_evaluate_asks(tmp_path: Path) -> None:
    samples = DrawnSamples(18)
    written = lines(write_samples(samples, tmp_path / "s"))
    assert len(written) == 18
    assert len({each["prompt"] for each in written}) >= 10
    assert all(each["answer"] for each in written)
    for each in written:
        with Image.open(each["image"]) as image:
            image.verify()
    assert samples.describe() == {"from": "drawn pictures", "samples": 18, "suite": "sight 1", "seed": 7}
    assert samples.describe()["seed"] != EVALUATED


def test_the_same_samples_come_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_samples(DrawnSamples(5), tmp_path / name)
    a, b = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b"))
    del a["samples.jsonl"], b["samples.jsonl"]
    assert a == b


def test_lines_are_taken_as_evaluate_takes_them(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "q.jsonl").write_text(
        '{"image": "a.png", "question": "How many?", "answer": 3, "kind": "number"}\n'
        '\n{"image": "a.png"}\n{"question": "Why?", "answer": "So."}\n'
    )
    written = lines(write_samples(find_samples(tmp_path, 10), tmp_path / "s"))
    assert [(Path(each["image"]).name, each["prompt"], each["answer"]) for each in written] == [
        ("a.png", "How many?", "3"),
        ("a.png", DESCRIBE, ""),
        (GREY, "Why?", "So."),
    ]


def test_a_folder_of_pictures_and_texts_will_do(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png"):
        picture(tmp_path / name)
    (tmp_path / "c.txt").write_text("Once upon a time. " * 1000)
    (tmp_path / "empty.txt").write_text(" ")
    (tmp_path / "notes.pdf").write_text("none of ours")
    samples = OwnSamples(tmp_path, 100)
    written = lines(write_samples(samples, tmp_path / "s"))
    assert [Path(each["image"]).name for each in written] == ["a.png", "b.JPG", GREY]
    assert len(written[-1]["prompt"]) == 6000
    described = samples.describe()
    picture_changed = Image.new("RGB", (9, 9))
    picture_changed.save(tmp_path / "a.png")
    assert OwnSamples(tmp_path, 100).describe()["sha256"] != described["sha256"]


def test_more_than_wanted_is_chosen_from_evenly_and_always_alike(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("".join(f'{{"question": "{number}"}}\n' for number in range(100)))
    first, again = (OwnSamples(tmp_path, 10).write(tmp_path) for _ in range(2))
    assert first == again
    assert len(first) == 10
    assert int(first[-1].prompt) > 50


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "there are no pictures"),
        ({"a.png": "not a picture"}, "a.png is no picture that can be read"),
        ({"q.jsonl": "{"}, "q.jsonl:1: not JSON"),
        ({"q.jsonl": "[]"}, "q.jsonl:1: not an object"),
        ({"q.jsonl": "{}"}, "q.jsonl:1: neither image nor question"),
        ({"q.jsonl": '{"question": ["a"]}'}, "q.jsonl:1: question is no text"),
        ({"q.jsonl": '{"image": "../a.png"}'}, "q.jsonl:1: ../a.png lies outside"),
        ({"q.jsonl": '{"image": "gone.png"}'}, "gone.png is no picture"),
    ],
)
def test_a_folder_that_will_not_do_is_one_sentence(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        OwnSamples(tmp_path, 10)


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="--calib gone: no such folder"):
        find_samples(Path("gone"), 10)


def test_samples_for_a_recipe_that_looks_at_none_are_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    code, output = fovea("run", source, tmp_path / "out", "--calib", tmp_path)
    assert (code, "--calib: fp8-dynamic is not calibrated" in output) == (2, True)


def test_sight_at_4_bits_wants_to_be_known(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "m", toy())
    own = tmp_path / "own.yaml"
    own.write_text("{name: blind, scheme: W4A16, quantize: [vision], group_size: 32}")
    for command in (("plan", source), ("run", source, tmp_path / "out")):
        code, output = fovea(*command, "--recipe", own)
        assert (code, "blind cuts vision to 4 bits" in output) == (3, True)
    code, output = fovea("plan", source, "--recipe", own, "--i-know")
    assert (code, "no multiple of blind's group_size of 32" in output) == (4, True)
