"""Which requests vLLM must fail: those that would see zeros where a worker could not load what was promised.

Part of `scheduling.py`, which hears of it from the workers' reports. vLLM asks for them at the end of each step
(take_unavailable_requests), and their callers may ask again.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Shown(Protocol):
    @property
    def identifier(self) -> str: ...


class Follower(Protocol):
    """What is read of vLLM's Request."""

    @property
    def request_id(self) -> str: ...

    @property
    def mm_features(self) -> Sequence[Shown]: ...


class Refusals:
    """As long as vLLM holds something wrong for a picture, every request that shows it is refused, and no other."""

    def __init__(self) -> None:
        self._live: dict[str, Follower] = {}
        self._spoilt: set[str] = set()
        self._refused: set[str] = set()

    def __len__(self) -> int:
        """Requests that are followed."""
        return len(self._live)

    def follow(self, request: Follower) -> None:
        """Called for every request with pictures at every step."""
        self._live[request.request_id] = request
        if self._spoilt:
            self._look([request])

    def finished(self, request_id: str) -> None:
        self._live.pop(request_id, None)
        self._refused.discard(request_id)

    def spoil(self, identifiers: Iterable[str]) -> None:
        """vLLM holds something wrong for these."""
        self._spoilt.update(identifiers)
        self._look(self._live.values())

    def let_go(self, identifier: str) -> None:
        """vLLM holds it no more: what comes in its place is right."""
        if identifier in self._spoilt:
            self._spoilt.discard(identifier)
            self._refused.clear()
            self._look(self._live.values())

    def take(self) -> set[str]:
        taken, self._refused = self._refused, set()
        return taken

    def _look(self, requests: Iterable[Follower]) -> None:
        for request in requests:
            if any(feature.identifier in self._spoilt for feature in request.mm_features):
                self._refused.add(request.request_id)
