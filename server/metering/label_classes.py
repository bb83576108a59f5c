"""Keeps labels bounded whose values others choose: the first few by their names, all later ones in classes."""

import re
from collections.abc import Mapping
from zlib import crc32

OTHERS = 16
OTHER = re.compile(r"other-\d\d")


class LabelClasses:
    """At most `most` names, the labels of `known` (for what must never be in a class), and `OTHERS` classes.

    A name keeps its label for the process's life, so that no count moves. Its class is the same in every process;
    which names are the first, is each process's own. So a sum over several is of labels that went through another
    one of these: whatever was a class there, is the same one here.
    """

    def __init__(self, most: int, known: Mapping[str, str]) -> None:
        self._labels = dict(known)
        self._most = most + len(known)

    def of(self, name: str) -> str:
        """The label for `name`, which is taken in where there is a place."""
        return self._labels.get(name) or self._meet(name)

    def _meet(self, name: str) -> str:
        if name.startswith("other-") and OTHER.fullmatch(name):
            return f"other-{int(name[-2:]) % OTHERS:02d}"
        if len(self._labels) < self._most:
            self._labels[name] = name
            return name
        return f"other-{crc32(name.encode()) % OTHERS:02d}"
