import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.engine.encoder_cache.free_pages import FreePages, Run


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Held beside a set of free page numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = FreePages()
        self.free: set[int] = set()
        self.taken: list[Run] = []
        self.grown = 0

    @rule(count=st.integers(1, 12))
    def grow(self, count: int) -> None:
        self.pages.give(self.grown, count)
        self.free |= set(range(self.grown, self.grown + count))
        self.grown += count

    def _took(self, runs: list[Run], wanted: int) -> None:
        pages = [page for first, count in runs for page in range(first, first + count)]
        assert len(pages) == len(set(pages)) == wanted
        assert set(pages) <= self.free
        self.free -= set(pages)
        self.taken += runs

    @rule(wanted=st.integers(1, 8))
    def take_run(self, wanted: int) -> None:
        firsts = [n for n in sorted(self.free) if all(page in self.free for page in range(n, n + wanted))]
        run = self.pages.take_run(wanted)
        assert (run[0] if run else None) == (firsts[0] if firsts else None)
        if run:
            self._took([run], wanted)

    @rule(wanted=st.integers(1, 20))
    def take_scattered(self, wanted: int) -> None:
        enough = wanted <= len(self.free)
        runs = self.pages.take_scattered(wanted)
        assert (runs is not None) == enough
        if runs:
            assert runs == sorted(runs)
            self._took(runs, wanted)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        first, count = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.pages.give(first, count)
        self.free |= set(range(first, first + count))

    @invariant()
    def as_many_are_free_as_are(self) -> None:
        assert self.pages.pages == len(self.free)


TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase


def test_what_must_be_scattered_is_in_as_few_runs_as_can_be() -> None:
    pages = FreePages()
    for first, count in ((0, 2), (4, 5), (12, 1), (16, 4)):
        pages.give(first, count)
    assert pages.take_scattered(8) == [(4, 5), (16, 3)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 0, 2)])
def test_neighbours_that_come_back_in_any_order_are_one_run_again(order: tuple[int, ...]) -> None:
    pages = FreePages()
    for n in order:
        pages.give(n * 4, 4)
    assert pages.take_run(12) == (0, 12)
