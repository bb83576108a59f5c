"""Which pages of the arena are free. Pure arithmetic; `arena.py` has the memory."""

from bisect import bisect_left

Run = tuple[int, int]  # first page, number of pages


class FreePages:
    """No page is given out twice before it is given back. Not thread-safe: the arena has the lock."""

    def __init__(self) -> None:
        self.pages = 0
        self._firsts: list[int] = []
        self._counts: list[int] = []

    def take_run(self, pages: int) -> Run | None:
        """Consecutive pages, the first that suffice: low pages are used again before high ones are touched."""
        for index, count in enumerate(self._counts):
            if count >= pages:
                return self._cut(index, pages)
        return None

    def take_scattered(self, pages: int) -> list[Run] | None:
        """As few runs as there can be: the longest first."""
        if pages > self.pages:
            return None
        runs: list[Run] = []
        while pages:
            index = max(range(len(self._counts)), key=self._counts.__getitem__)
            run = self._cut(index, min(pages, self._counts[index]))
            runs.append(run)
            pages -= run[1]
        return sorted(runs)

    def give(self, first: int, count: int) -> None:
        """Neighbours that are free already become one run with it."""
        index = bisect_left(self._firsts, first)
        self.pages += count
        if index and self._firsts[index - 1] + self._counts[index - 1] == first:
            index -= 1
            self._counts[index] += count
        else:
            self._firsts.insert(index, first)
            self._counts.insert(index, count)
        after = index + 1
        if after < len(self._firsts) and self._firsts[index] + self._counts[index] == self._firsts[after]:
            self._counts[index] += self._counts[after]
            del self._firsts[after], self._counts[after]

    def _cut(self, index: int, pages: int) -> Run:
        first = self._firsts[index]
        self.pages -= pages
        if self._counts[index] == pages:
            del self._firsts[index], self._counts[index]
        else:
            self._firsts[index] += pages
            self._counts[index] -= pages
        return first, pages
