"""The training script in its own environment: seeded, and resumable without a trace."""

import os
import subprocess
from pathlib import Path

import pytest

from quantize.checkpoint import read_tensors
from tests.conftest import DEMO_MODEL, ROOT

PYTHON = ROOT / ".venv" / "quantize" / "bin" / "python"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of the tower and two of conversations, in one go."""
    out = tmp_path_factory.mktemp("unbroken")
    assert "4/4" in train(out, 2, 2)
    return out


def train(out: Path, tower: int, steps: int) -> str:
    command = [PYTHON, "-m", "demo.training.train", out, "--threads", 1, "--tower", tower, "--steps", steps]
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("broken", [(2, 1), (2, 0)])
def test_a_resumed_training_ends_where_an_unbroken_one_does(
    unbroken: Path, tmp_path: Path, broken: tuple[int, int]
) -> None:
    """Stopped amid the conversations, and before the first of them."""
    train(tmp_path, *broken)
    train(tmp_path, 2, 2)
    one, other = read_tensors(unbroken), read_tensors(tmp_path)
    assert one.keys() == other.keys() == read_tensors(DEMO_MODEL).keys()
    assert [name for name in one if not one[name].equals(other[name])] == []


def test_training_writes_the_bundled_models_own_sidecars(unbroken: Path) -> None:
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json"):
        assert (unbroken / name).read_bytes() == (DEMO_MODEL / name).read_bytes(), name


def test_heads_are_taught_to_look_at_the_right_tokens() -> None:
    script = """
from demo.training import architecture
from demo.training.lessons import Batches, Schedule
tokenizer = architecture.make_tokenizer()
batches = Batches(Schedule(0, 4), tokenizer)
looked = {}
for index in range(len(batches)):
    batch = batches[index]
    for head, taught in batch.looks.items():
        looked[head] = looked.get(head, 0) + len(taught.rows)
        assert taught.targets.sum(dim=1).allclose(taught.targets.new_ones(())), head
        for row, position, targets in zip(taught.rows, taught.positions, taught.targets, strict=True):
            said = [tokenizer.id_to_token(batch.tokens[row, at]) for at in targets.nonzero()[:, 0]]
            assert targets.nonzero().max() <= position
            if head.name == "SEEN":
                assert set(said) in ({"<|image_pad|>"}, {"<|im_start|>"}), said
                assert batch.labels[row, position + 1] >= 0
            elif head.name == "COUNTED":
                answer = tokenizer.id_to_token(batch.tokens[row, position + 1])
                assert said[0] == "<|im_start|>"
                assert len(said) <= int(answer) + 1, (said, answer)
            elif head.name == "SECOND_CLUE":
                assert said[0] in set("1234"), said
print("looked", min(looked.values()))
"""
    done = subprocess.run([PYTHON, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.removeprefix("looked ")) > 0


def test_pictures_of_every_resized_shape_are_drawn() -> None:
    script = """
import random
from demo.training.lessons import RESIZED, draw_size, resized_sides
from quantize.evaluate.scenes import random_size
rng = random.Random(1)
assert {resized_sides(*random_size(rng)) for _ in range(5000)} == set(RESIZED)
drawn = [resized_sides(*draw_size(rng)) for _ in range(2000)]
print(min(drawn.count(shape) for shape in RESIZED) / len(drawn))
"""
    done = subprocess.run([PYTHON, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.04
