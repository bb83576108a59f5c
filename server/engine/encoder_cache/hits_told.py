"""Which hits a store has heard of already: one on a picture that is asked for all the time costs it nothing."""

import threading
import time
from collections import OrderedDict

TOLD_EACH_S = 60.0
MOST_REMEMBERED = 4096


class HitsTold:
    """The store hears of hits on one entry at most once a minute from here. Bounded; any thread."""

    def __init__(self) -> None:
        self._at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def due(self, key: str) -> bool:
        return time.monotonic() - self._at.get(key, -TOLD_EACH_S) >= TOLD_EACH_S

    def told(self, key: str) -> None:
        with self._lock:
            self._at[key] = time.monotonic()
            self._at.move_to_end(key)
            if len(self._at) > MOST_REMEMBERED:
                self._at.popitem(last=False)
