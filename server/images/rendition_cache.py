"""Keeps what has been made of images, so that one that comes again is not decoded again."""

from collections import OrderedDict

from server.images.rendition import Rendition


class RenditionCache:
    """By identity, so never shared between tenants that are isolated; the least recently used leave first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Rendition] = OrderedDict()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def get(self, identity: str) -> Rendition | None:
        kept = self._kept.get(identity)
        if kept is not None:
            self._kept.move_to_end(identity)
        return kept

    def forget(self, identity: str) -> None:
        kept = self._kept.pop(identity, None)
        if kept is not None:
            self._bytes -= len(kept.data)

    def put(self, identity: str, rendition: Rendition) -> None:
        size = len(rendition.data)
        if size > self._most_bytes or identity in self._kept:
            return
        self._kept[identity] = rendition
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.data)
