"""Reads what a checkpoint says of its pictures: in its preprocessor's, processor's and model's configuration."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.errors import ConfigError

MOST_CONFIG_BYTES = 4 * 1024**2
PREPROCESSOR, PROCESSOR, MODEL = "preprocessor_config.json", "processor_config.json", "config.json"


class Fields:
    """A JSON object of a configuration. What is not of the asked kind is a ConfigError that names it."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self._content = content
        self._where = where

    def __contains__(self, name: str) -> bool:
        return self._content.get(name) is not None

    def part(self, name: str) -> "Fields":
        """An object inside; an empty one where there is none."""
        found = self._content.get(name)
        return Fields(found if isinstance(found, dict) else {}, f"{self._where}: {name}")

    def text(self, *names: str) -> str:
        """The first of these that is there, else empty."""
        return next((value for name in names if isinstance(value := self._content.get(name), str)), "")

    def flag(self, name: str, default: bool) -> bool:
        found = self._content.get(name)
        return found if isinstance(found, bool) else default

    def number(self, name: str, *defaults: float | None, least: float = 1) -> float:
        """The number, or the first default that is one."""
        for value in (self._content.get(name), *defaults):
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e9:
                    raise ConfigError(f"{self._where}: {name} cannot be {value!r:.40}")
                return value
        raise ConfigError(f"{self._where}: {name} is missing")

    def count(self, name: str, *defaults: int | None, least: int = 1) -> int:
        return int(self.number(name, *defaults, least=least))

    def optional(self, name: str) -> int | None:
        return self.count(name) if name in self else None

    def pairs(self, name: str) -> Iterator[tuple[int, int]]:
        found = self._content.get(name)
        for pair in found if isinstance(found, list) else []:
            if not isinstance(pair, list) or len(pair) != 2 or not all(type(n) is int and n > 0 for n in pair):
                raise ConfigError(f"{self._where}: {name} is not a list of pairs")
            yield pair[0], pair[1]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`images` is what prepares pictures, `processor` what puts them into prompts, `model` what looks at them; all
    but the first may be empty."""

    images: Fields
    processor: Fields
    model: Fields
    path: Path

    @property
    def vision(self) -> Fields:
        return self.model.part("vision_config")


def read_checkpoint(path: Path) -> Checkpoint:
    """Of a checkpoint's folder, or of its preprocessor_config.json. Raises ConfigError."""
    folder = path if path.is_dir() else path.parent
    processor, model = read_object(folder / PROCESSOR, False), read_object(folder / MODEL, False)
    if path.is_dir() and not (folder / PREPROCESSOR).is_file() and "image_processor" in processor:
        # As transformers 5 saves a processor: one file for all its parts.
        images = processor["image_processor"]
        images = images if isinstance(images, dict) else {}
        path = folder / PROCESSOR
    else:
        path = folder / PREPROCESSOR if path.is_dir() else path
        images = read_object(path, True)
    return Checkpoint(
        Fields(images, str(path)),
        Fields(processor, str(folder / PROCESSOR)),
        Fields(model, str(folder / MODEL)),
        path,
    )


def read_object(path: Path, needed: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_CONFIG_BYTES)
        content = json.loads(raw)
    except FileNotFoundError as problem:
        if not needed:
            return {}
        raise ConfigError(f"cannot read {path}: FileNotFoundError") from problem
    except OSError as problem:
        raise ConfigError(f"cannot read {path}: {type(problem).__name__}") from problem
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not JSON") from problem
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a configuration: it holds no object")
    return content
