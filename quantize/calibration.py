"""What calibrated recipes are shown: drawn pictures with questions and answers, or a folder of your own.

Every sample has a picture, for llm-compressor follows the model along one path; where it is text alone, a grey one.
"""

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from quantize.durable import hash_file
from quantize.errors import UsageError

SEED = 7  # not the one that `evaluate` draws its questions from
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
GREY = "grey.png"
MOST_CHARACTERS = 6000
DESCRIBE = "Describe this picture."


@dataclass(frozen=True, slots=True)
class Sample:
    """`image` is None where there is only text."""

    image: Path | None
    prompt: str
    answer: str = ""


class DrawnSamples:
    """`count` questions of the sight suite with their answers, other ones than `evaluate` asks."""

    def __init__(self, count: int) -> None:
        from quantize.evaluate.questions import SKILLS  # NumPy
        from quantize.evaluate.scenes import LEVELS
        from quantize.evaluate.suite import SightSuite

        per_kind = -(-count // (len(SKILLS) * len(LEVELS)))
        self._suite = SightSuite(SKILLS, LEVELS, per_kind, SEED)
        self._keys = self._suite.keys[:count]

    def describe(self) -> dict[str, Any]:
        return {"from": "drawn pictures", "samples": len(self._keys), **self._suite.describe()}

    def write(self, folder: Path) -> list[Sample]:
        """The pictures as files."""
        samples = []
        for number, key in enumerate(self._keys):
            item = self._suite.item(key)
            path = folder / f"{number}{'.png' if item.media_type == 'image/png' else '.jpg'}"
            path.write_bytes(item.data)
            samples.append(Sample(path, item.text, item.truth.value))
        return samples


class OwnSamples:
    """Of a folder: the lines of its *.jsonl ({"image", "question", "answer"}, as `evaluate` takes them; each may be
    left out but one); where there are none, its pictures and *.txt."""

    def __init__(self, folder: Path, count: int) -> None:
        """Raises UsageError."""
        if not folder.is_dir():
            raise UsageError(f"--calib {folder}: no such folder")
        found = read_lines(folder) or read_files(folder)
        if not found:
            raise UsageError(f"--calib {folder}: there are no pictures, no *.txt and no *.jsonl in it")
        chosen = sorted(random.Random(SEED).sample(range(len(found)), min(count, len(found))))
        self._samples = [found[index] for index in chosen]
        for sample in self._samples:
            if sample.image is not None:
                check_picture(sample.image)

    def describe(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for sample in self._samples:
            picture = hash_file(sample.image) if sample.image is not None else ""
            digest.update(json.dumps([picture, sample.prompt, sample.answer]).encode())
        return {"from": "own samples", "samples": len(self._samples), "sha256": digest.hexdigest()}

    def write(self, folder: Path) -> list[Sample]:
        return self._samples


Samples = DrawnSamples | OwnSamples


def find_samples(own: Path | None, count: int) -> Samples:
    """Raises UsageError."""
    return DrawnSamples(count) if own is None else OwnSamples(own, count)


def write_samples(samples: Samples, folder: Path) -> Path:
    """A file in `folder` with a line of JSON ("image", "prompt", "answer") a sample, beside pictures it needs."""
    folder.mkdir()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(folder / GREY)
    lines = []
    for each in samples.write(folder):
        image = (each.image or folder / GREY).resolve()
        lines.append(json.dumps({"image": str(image), "prompt": each.prompt, "answer": each.answer}))
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "samples.jsonl"


def read_lines(folder: Path) -> list[Sample]:
    """Raises UsageError naming the line."""
    samples = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if line.strip():
                samples.append(parse_line(line, folder, f"{path}:{number}"))
    return samples


def parse_line(line: str, folder: Path, where: str) -> Sample:
    try:
        content = json.loads(line)
    except ValueError as problem:
        raise UsageError(f"{where}: not JSON") from problem
    if not isinstance(content, dict):
        raise UsageError(f"{where}: not an object")
    given = {key: content.get(key) for key in ("image", "question", "answer")}
    for key, value in given.items():
        if value is not None and not isinstance(value, str | int):
            raise UsageError(f"{where}: {key} is no text")
    image, question, answer = (None if value is None else str(value) for value in given.values())
    if image is None and question is None:
        raise UsageError(f"{where}: neither image nor question")
    path = None if image is None else folder / image
    if path is not None and not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{where}: {image} lies outside {folder}")
    return Sample(path, cut(question or DESCRIBE), cut(answer or ""))


def read_files(folder: Path) -> list[Sample]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    pictures = [Sample(path, DESCRIBE) for path in files if path.suffix.lower() in PICTURES]
    texts = [Sample(None, cut(read_text(path))) for path in files if path.suffix.lower() == ".txt"]
    return pictures + [text for text in texts if text.prompt.strip()]


def read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read {path}: {type(problem).__name__}") from problem


def check_picture(path: Path) -> None:
    try:
        with Image.open(path) as image:
            image.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as problem:
        raise UsageError(f"--calib: {path} is no picture that can be read") from problem


def cut(text: str) -> str:
    return text[:MOST_CHARACTERS]
