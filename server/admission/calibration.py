"""How many bytes of text a token has, for each model: a first guess, corrected by what engines count in `usage`."""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from statistics import median_low

# English in byte-level vocabularies of Qwen's size runs near four bytes a token.
FIRST_GUESS = 4.0
LEAST, MOST = 1.0, 8.0
# Shorter texts say little of the vocabulary.
LEAST_BYTES = 48
ENOUGH = 3  # answers of a tenant, from which on it has a say
KEPT, MOST_TENANTS, MOST_MODELS = 33, 256, 256


@dataclass(slots=True)
class Ratio:
    """Of one model. `tenants` hold the bytes per token of their last answers, the least recently heard first; the
    value is made afresh when as many as `due` have been `heard`."""

    value: float = FIRST_GUESS
    heard: int = 0
    due: int = 0
    tenants: "OrderedDict[str, deque[float]]" = field(default_factory=OrderedDict)


class Calibration:
    """The median over tenants of each one's median: whoever sends the most, or the strangest, has one voice.

    A half of the tenants together could move it, and within LEAST..MOST alone.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[str, Ratio] = OrderedDict()

    def tokens(self, model: str, text_bytes: int) -> int:
        """An estimate of the text's tokens."""
        ratio = self._models.get(model)
        each = FIRST_GUESS if ratio is None else ratio.value
        return math.ceil(text_bytes / each)

    def bytes_per_token(self, model: str) -> float:
        ratio = self._models.get(model)
        return FIRST_GUESS if ratio is None else ratio.value

    def heard(self, model: str) -> int:
        """Answers that have corrected the guess."""
        ratio = self._models.get(model)
        return 0 if ratio is None else ratio.heard

    def observe(self, model: str, tenant: str, text_bytes: int, text_tokens: int) -> None:
        """`text_tokens` are the engine's count of a prompt, less its pictures' and its template's."""
        if text_bytes < LEAST_BYTES or text_tokens <= 0:
            return
        ratio = self._of(model)
        last = ratio.tenants.get(tenant)
        if last is None:
            last = ratio.tenants[tenant] = deque(maxlen=KEPT)
            if len(ratio.tenants) > MOST_TENANTS:
                ratio.tenants.popitem(last=False)
        else:
            ratio.tenants.move_to_end(tenant)
        last.append(min(MOST, max(LEAST, text_bytes / text_tokens)))
        ratio.heard += 1
        # Afresh at each of the first, then now and then, no more often than there are tenants to hear: so that an
        # answer never costs more than about one median, however many they are.
        if ratio.heard <= KEPT or ratio.heard >= ratio.due:
            ratio.due = ratio.heard + max(KEPT, len(ratio.tenants))
            voices = [median_low(each) for each in ratio.tenants.values() if len(each) >= ENOUGH]
            if voices:
                ratio.value = median_low(voices)

    def _of(self, model: str) -> Ratio:
        ratio = self._models.get(model)
        if ratio is None:
            ratio = self._models[model] = Ratio()
            if len(self._models) > MOST_MODELS:
                self._models.popitem(last=False)
        return ratio
