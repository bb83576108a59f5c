"""What became of each request's pictures, from the calls that vLLM's scheduler makes anyway.

Part of the connector's scheduling half: `asks` at ensure_cache_available, `allocated` at update_state_after_alloc,
`scheduled` at build_connector_meta, `finished` at request_finished; `take` with the step's statistics. vLLM says
nothing of a picture that it has in its own memory, or in cached prefix blocks: it is told apart by no allocation
having been made for it when the step reaches its first token.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Protocol

from server.engine.encoder_cache.outcomes import Outcome

MOST_REQUESTS = 4096
MOST_UNTAKEN = 4096


class Position(Protocol):
    @property
    def offset(self) -> int: ...


class Feature(Protocol):
    @property
    def identifier(self) -> str: ...

    @property
    def mm_position(self) -> Position: ...


class Asking(Protocol):
    """What is read of vLLM's Request."""

    @property
    def request_id(self) -> str: ...

    @property
    def mm_features(self) -> Sequence[Feature]: ...

    @property
    def num_computed_tokens(self) -> int: ...


class Seen:
    """Each picture of a request is told of once in its life, however often it is scheduled again.

    Used by the scheduler's thread alone. At most `MOST_REQUESTS` are followed; the oldest are told of no more.
    """

    def __init__(self) -> None:
        self._followed: OrderedDict[str, None] = OrderedDict()
        self._untold: dict[str, tuple[Asking, list[Feature]]] = {}
        self._of_this_step: dict[str, Outcome] = {}
        self._told: dict[str, Outcome] = {}

    def asks(self, request: Asking) -> None:
        """Called for every request with pictures at every step: costs a look into a dict but for the first time."""
        name = request.request_id
        if name in self._followed:
            return
        self._followed[name] = None
        first: dict[str, Feature] = {}
        for feature in request.mm_features:
            first.setdefault(feature.identifier, feature)
        self._untold[name] = (request, list(first.values()))
        if len(self._followed) > MOST_REQUESTS:
            oldest, _ = self._followed.popitem(last=False)
            self._untold.pop(oldest, None)

    def allocated(self, identifier: str, outcome: Outcome) -> None:
        """vLLM makes room for it in this step: it is loaded from `outcome`, or encoded (miss)."""
        self._of_this_step[identifier] = outcome

    def scheduled(self, tokens: Mapping[str, int]) -> None:
        """The step runs: how many tokens of which requests (SchedulerOutput.num_scheduled_tokens). Before vLLM
        counts them as computed, as is the case in build_connector_meta."""
        made = self._of_this_step
        for name in [name for name in self._untold if name in tokens]:
            request, features = self._untold[name]
            reached = request.num_computed_tokens + tokens[name]
            waiting = []
            for feature in features:
                if feature.identifier in made:
                    self._told[feature.identifier] = made[feature.identifier]
                elif feature.mm_position.offset < reached:
                    self._told.setdefault(feature.identifier, "gpu")
                else:
                    waiting.append(feature)
            if waiting:
                self._untold[name] = (request, waiting)
            else:
                del self._untold[name]
        self._of_this_step = {}
        while len(self._told) > MOST_UNTAKEN:
            del self._told[next(iter(self._told))]

    def finished(self, request_id: str) -> None:
        self._followed.pop(request_id, None)
        self._untold.pop(request_id, None)

    def take(self) -> dict[str, Outcome]:
        """What has been found since the last time."""
        told, self._told = self._told, {}
        return told
