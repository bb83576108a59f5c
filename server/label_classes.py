"""Keeps labels bounded whose values others choose: the first few by their names, all later ones in classes."""

import re
from zlib import crc32

OTHERS = 16
OTHER = re.compile(r"other-\d\d")


class LabelClasses:
    """At most `most` names and `OTHERS` classes, whatever comes. A name keeps its label for the process's life, so
    that no count moves; it has the same class in every process, but not the same place among the first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._named: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._named)

    def of(self, name: str) -> str:
        """The label for `name`, which is taken in where there is a place; a class is a label of its own."""
        return self._named.get(name) or self._meet(name)

    def _meet(self, name: str) -> str:
        if OTHER.fullmatch(name):
            return f"other-{int(name[-2:]) % OTHERS:02d}"
        if len(self._named) < self._most:
            self._named[name] = name
            return name
        return f"other-{crc32(name.encode()) % OTHERS:02d}"
