"""What the guides in docs/guides/ say that programs can read: blocks, commands, names."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
# In a shell, what comes behind these is another program's or the shell's own.
ENDS = ("|", ">", "<", "#", "&&")


@dataclass(frozen=True)
class Block:
    """`kind`: the fence's word, or of YAML its first line's (`# values`, `# keys`)."""

    guide: str
    kind: str
    text: str

    @property
    def told(self) -> Any:
        return yaml.safe_load(self.text)


def blocks(guide: Path) -> list[Block]:
    found = []
    for word, text in FENCE.findall(guide.read_text()):
        first = text.partition("\n")[0]
        kind = first.removeprefix("# ") if word == "yaml" and re.fullmatch(r"# \w+", first) else word
        found.append(Block(guide.name, kind, text))
    return found


def blocks_of(kind: str) -> list[Block]:
    return [block for guide in GUIDES for block in blocks(guide) if block.kind == kind]


def prose(guide: Path) -> str:
    return FENCE.sub("", guide.read_text())


def inline(guide: Path) -> list[str]:
    """Code in the text, without blocks."""
    return INLINE.findall(prose(guide))


def commands() -> list[tuple[str, tuple[str, ...]]]:
    """Every command in a block without a word, with the guide's name; of a pipe each part."""
    found = []
    for block in blocks_of(""):
        for line in block.text.replace("\\\n", " ").splitlines():
            for words in parts(shlex.split(line)):
                found.append((block.guide, tuple(words)))
    return found


def parts(words: list[str]) -> list[list[str]]:
    made: list[list[str]] = [[]]
    skipping = False
    for word in words:
        if word == "|":
            made.append([])
            skipping = False
        elif word in ENDS:
            skipping = True
        elif not skipping:
            made[-1].append(word)
    return [each for each in made if each and "=" not in each[0]]
