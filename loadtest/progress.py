"""A run on a terminal while it lasts."""

import sys
from collections import Counter
from types import TracebackType
from typing import NoReturn, Self

from tqdm import tqdm

from loadtest.records import RequestRecord

LOGGED_S = 10.0  # between two lines of a log
LOGGED = "{n_fmt} of {total_fmt} requests after {elapsed}{postfix}\n"


class Bars:
    """Written to stderr; on no terminal, a line now and then."""

    def __enter__(self) -> Self:
        self._bar: tqdm[NoReturn] = tqdm(
            unit="picture", desc="drawing", leave=False, disable=not sys.stderr.isatty()
        )
        self._errors: Counter[str] = Counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def drawn(self) -> None:
        self._bar.update()

    def begins(self, requests: int | None) -> None:
        self._bar.close()
        if sys.stderr.isatty():
            self._bar = tqdm(total=requests, unit="request")
            return
        self._bar = tqdm(total=requests, mininterval=LOGGED_S, maxinterval=LOGGED_S, bar_format=LOGGED)

    def ended(self, record: RequestRecord, under_way: int) -> None:
        if record.code:
            self._errors[record.code] += 1
        told = [f"{under_way} under way", *(f"{count} {code}" for code, count in self._errors.most_common(3))]
        self._bar.set_postfix_str(", ".join(told), refresh=False)
        self._bar.update()
