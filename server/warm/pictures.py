"""Finds the pictures of a catalogue in folders, files, URLs and JSONL: the first of `fovea warm`'s stages.

JSONL lines are `{"image": path-or-url}`, or requests with image parts, as OpenAI's batches have them.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from server.domain import Detail

JSONL = (".jsonl", ".ndjson")
MOST_LINE_BYTES = 256 * 1024**2
HEAD_BYTES = 32
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\x00", b"MM\x00*")
BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")


@dataclass(frozen=True, slots=True)
class Picture:
    """`where` is for people. It lies at `path`, at `url`, or as base64 in the `index`th image of the line that
    begins at `offset` of the file `path`."""

    where: str
    path: Path | None = None
    url: str = ""
    offset: int | None = None
    index: int = 0
    detail: Detail = "auto"


@dataclass(frozen=True, slots=True)
class NoPicture:
    """What was named and cannot be used. `passed_over`: a file in a folder that is no picture."""

    where: str
    reason: str
    passed_over: bool = False


Found = Picture | NoPicture


def find_pictures(inputs: Iterable[str]) -> Iterator[Found]:
    """In order; folders by name, whatever lies below them, links to folders aside."""
    for each in inputs:
        if each.startswith(("https://", "http://")):
            yield Picture(each, url=each)
            continue
        path = Path(each)
        if path.is_dir():
            yield from in_folder(path)
        elif path.name.lower().endswith(JSONL):
            yield from in_lines(path)
        else:
            yield Picture(each, path=path)


def in_folder(folder: Path) -> Iterator[Found]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            try:
                is_one = path.is_file() and is_picture(path)
            except OSError as problem:
                yield NoPicture(str(path), problem.strerror or "unreadable")
                continue
            yield Picture(str(path), path=path) if is_one else NoPicture(str(path), "no picture", passed_over=True)


def is_picture(path: Path) -> bool:
    """By its first bytes; whether it is sound, the checks of the image path say later. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(MAGIC) or webp or (head[4:8] == b"ftyp" and head[8:12] in BRANDS)


def in_lines(path: Path) -> Iterator[Found]:
    try:
        with path.open("rb") as file:
            number, offset = 0, 0
            while line := file.readline(MOST_LINE_BYTES):
                number += 1
                if line.strip():
                    yield from in_line(line, path, number, offset)
                offset += len(line)
    except OSError as problem:
        yield NoPicture(str(path), problem.strerror or "unreadable")


def in_line(line: bytes, path: Path, number: int, offset: int) -> Iterator[Found]:
    where = f"{path}:{number}"
    try:
        images = images_of(line)
    except ValueError as problem:
        yield NoPicture(where, str(problem))
        return
    for index, (url, detail) in enumerate(images):
        if url.startswith("data:"):
            yield Picture(where, path=path, offset=offset, index=index, detail=detail)
        elif url.startswith(("https://", "http://")):
            yield Picture(where, url=url, detail=detail)
        else:
            yield Picture(where, path=path.parent / url, detail=detail)


def images_of(line: bytes) -> list[tuple[str, Detail]]:
    """URL or path, and detail, of each image. Raises ValueError."""
    try:
        parsed = json.loads(line)
    except ValueError as problem:
        raise ValueError("not JSON") from problem
    images = list(walk(parsed))
    if not images:
        raise ValueError("names no picture")
    return images


def walk(value: Any) -> Iterator[tuple[str, Detail]]:
    """Images wherever requests have them: one's own `image`, chats' image_url, responses' input_image."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending += reversed(each)
        elif isinstance(each, dict):
            image = each.get("image") or each.get("image_url")
            if isinstance(image, dict):
                yield from named(image.get("url"), image.get("detail"))
            elif image is not None:
                yield from named(image, each.get("detail"))
            pending += [each[name] for name in ("input", "content", "messages", "body") if name in each]


def named(url: Any, detail: Any) -> Iterator[tuple[str, Detail]]:
    if isinstance(url, str) and url:
        yield url, detail if detail in get_args(Detail) else "auto"


def read_line(path: Path, offset: int) -> bytes:
    """Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.readline(MOST_LINE_BYTES)
