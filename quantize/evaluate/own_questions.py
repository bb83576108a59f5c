"""A user's own questions: a JSONL file beside a folder of pictures.

One object a line: {"image": "a.jpg", "question": "...", "answer": "...", "kind": "text", "skill": "invoices"}.
`kind` is text (the default), number, choice (with "choices": [...]), point or box (with "box": [x1, y1, x2, y2] on
the 0-1000 scale in place of "answer").
"""

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from quantize.errors import UsageError
from quantize.evaluate.questions import Truth
from quantize.evaluate.suite import Item

Coordinate = Annotated[float, Field(ge=0, le=1000)]


class OwnQuestion(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: str | int | None = None
    kind: Literal["text", "number", "choice", "point", "box"] = "text"
    choices: list[str] = Field(default=[], max_length=100)
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    skill: str = Field(default="own", pattern=r"^[\w -]{1,40}$")

    @model_validator(mode="after")
    def is_answerable(self) -> "OwnQuestion":
        if self.kind in ("point", "box"):
            if self.box is None or self.box[0] >= self.box[2] or self.box[1] >= self.box[3]:
                raise ValueError(f"kind {self.kind} needs box: [x1, y1, x2, y2] with x1 < x2 and y1 < y2")
        elif self.answer is None or not str(self.answer).strip():
            raise ValueError("answer is missing")
        if self.kind == "number" and not str(self.answer).lstrip("-").isdigit():
            raise ValueError("kind number needs a whole number as its answer")
        if self.kind == "choice" and str(self.answer).lower() not in [choice.lower() for choice in self.choices]:
            raise ValueError("kind choice needs choices, the answer among them")
        if self.kind == "choice" and not all(choice.isalpha() for choice in self.choices):
            raise ValueError("choices must be single words of letters")
        return self

    @property
    def truth(self) -> Truth:
        if self.kind in ("point", "box"):
            return Truth(self.kind, str(self.box), box=self.box)
        if self.kind == "choice":
            return Truth("choice", str(self.answer).lower(), (tuple(choice.lower() for choice in self.choices),))
        return Truth(self.kind, str(self.answer).strip())


class OwnQuestions:
    """Questions whose lines are all checked at the start; pictures are read one by one."""

    def __init__(self, questions: Path, image_dir: Path) -> None:
        """Raises UsageError naming the line."""
        self.image_dir = image_dir
        try:
            lines = questions.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            raise UsageError(f"cannot read {questions}: {type(problem).__name__}") from problem
        self._questions: dict[str, OwnQuestion] = {}
        for number, line in enumerate(lines, 1):
            if line.strip():
                own = self._parse(line, f"{questions}:{number}")
                self._questions[f"{own.skill}/line {number}"] = own
        if not self._questions:
            raise UsageError(f"{questions} holds no questions")

    @property
    def keys(self) -> Sequence[str]:
        return list(self._questions)

    def item(self, key: str) -> Item:
        """Raises UsageError when the picture has gone or changed into something else since the start."""
        own = self._questions[key]
        try:
            data = (self.image_dir / own.image).read_bytes()
        except OSError as problem:
            raise UsageError(f"cannot read {own.image} any more: {problem.strerror}") from problem
        return Item(key, own.skill, "own", own.kind, own.question, own.truth, data, _media_type(data, own.image))

    def describe(self) -> dict[str, Any]:
        lines = "\n".join(own.model_dump_json() for own in self._questions.values())
        return {"suite": "own questions", "digest": hashlib.sha256(lines.encode()).hexdigest()}

    def _parse(self, line: str, where: str) -> OwnQuestion:
        try:
            own = OwnQuestion.model_validate(json.loads(line))
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from problem
        except ValueError as problem:
            raise UsageError(f"{where}: not JSON") from problem
        path = (self.image_dir / own.image).resolve()
        if not path.is_relative_to(self.image_dir.resolve()):
            raise UsageError(f"{where}: {own.image} lies outside {self.image_dir}")
        try:
            _media_type(path.read_bytes(), own.image)
        except OSError as problem:
            raise UsageError(f"{where}: cannot read {path}: {problem.strerror}") from problem
        return own


def _media_type(data: bytes, name: str) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            media_type = Image.MIME.get(image.format or "")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as problem:
        raise UsageError(f"{name} is not a picture that can be read") from problem
    if media_type is None:
        raise UsageError(f"{name} is of a kind that endpoints do not take")
    return media_type
