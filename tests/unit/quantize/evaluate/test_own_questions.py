import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from quantize.errors import UsageError
from quantize.evaluate.own_questions import OwnQuestions

GOOD: dict[str, Any] = {"image": "a.png", "question": "What?", "answer": "this"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "b.txt").write_text("not a picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    return folder


def load(pictures: Path, *lines: object) -> OwnQuestions:
    path = pictures.parent / "q.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return OwnQuestions(path, pictures)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "q.jsonl:2: not JSON"),
        ({**GOOD, "extra": 1}, "extra: Extra inputs are not permitted"),
        ({"image": "a.png", "question": "What?"}, "answer is missing"),
        ({**GOOD, "image": "none.png"}, "cannot read"),
        ({**GOOD, "image": "b.txt"}, "b.txt is not a picture"),
        ({**GOOD, "image": "../outside.png"}, "lies outside"),
        ({**GOOD, "kind": "box"}, "needs box"),
        ({**GOOD, "kind": "point", "box": [10, 10, 5, 20]}, "x1 < x2"),
        ({**GOOD, "kind": "point", "box": [0, 0, 5, 2000]}, "box.3: Input should be less than or equal to 1000"),
        ({**GOOD, "kind": "number"}, "needs a whole number"),
        ({**GOOD, "kind": "choice", "choices": ["a", "b"]}, "the answer among them"),
        ({**GOOD, "skill": "<b>"}, "skill: String should match pattern"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_asked(pictures: Path, line: object, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(pictures, GOOD, line)
    assert sentence in str(caught.value)


def test_an_empty_or_absent_file_is_refused(pictures: Path) -> None:
    with pytest.raises(UsageError, match="holds no questions"):
        load(pictures, "")
    with pytest.raises(UsageError, match="cannot read"):
        OwnQuestions(pictures / "none.jsonl", pictures)


def test_lines_keep_their_numbers_and_a_changed_file_is_another_run(pictures: Path) -> None:
    questions = load(pictures, GOOD, "", {**GOOD, "skill": "mine"})
    assert list(questions.keys) == ["own/line 1", "mine/line 3"]
    assert questions.item("mine/line 3").media_type == "image/png"
    assert questions.describe() != load(pictures, GOOD).describe()
