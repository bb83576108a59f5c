from server.engine.encoder_cache.entry import Embedding, key_of
from server.engine.encoder_cache.write_behind import WriteBehind
from tests.unit.engine.encoder_cache.stand_ins import NAMESPACE, MemoryTier, embedding

SIZE = 32


def offered(writing: WriteBehind, *names: str) -> list[bool]:
    def offer(name: str) -> bool:
        each = embedding(name)
        return writing.offer(each.key, lambda: each, each.data.nbytes)

    return [offer(name) for name in names]


def test_what_is_offered_is_written_in_order_and_told_once() -> None:
    tier = MemoryTier()
    writing = WriteBehind([tier], NAMESPACE, 100 * SIZE)
    names = [f"picture {n}" for n in range(20)]
    assert all(offered(writing, *names))
    assert writing.drain(10)
    assert tier.order == [key_of(name) for name in names]
    assert writing.take_done() == tier.order
    assert writing.take_done() == []
    assert bytes(tier.held[key_of("picture 3")].data) == bytes(embedding("picture 3").data)
    assert writing.close(10)


def test_every_tier_gets_it_and_it_is_told_once() -> None:
    disk, shared = MemoryTier(), MemoryTier(name="shared")
    writing = WriteBehind([disk, shared], NAMESPACE, 100 * SIZE)
    offered(writing, "a", "b")
    assert writing.close(10)
    assert disk.order == shared.order == [key_of("a"), key_of("b")]
    assert sorted(writing.take_done()) == sorted(disk.order)
    assert (writing.figures.queued, writing.figures.bytes_queued) == (0, 0)


def test_a_tier_that_hangs_holds_up_neither_offers_nor_the_other_tier() -> None:
    disk, shared = MemoryTier(), MemoryTier(name="shared")
    shared.open.clear()
    writing = WriteBehind([disk, shared], NAMESPACE, 8 * SIZE)
    for n in range(100):
        assert offered(writing, f"picture {n}") == [True]
        while len(disk.order) <= n:
            disk.entered.acquire()
    assert not writing.drain(0.01)
    assert writing.figures.bytes_queued <= 8 * SIZE
    assert writing.figures.lane_dropped == 96
    assert not writing.close(0.01)
    shared.open.set()
    assert writing.drain(10)


def test_what_does_not_fit_is_dropped_and_counted_and_never_more_than_the_bound_is_queued() -> None:
    tier = MemoryTier()
    tier.open.clear()
    writing = WriteBehind([tier], NAMESPACE, 3 * SIZE)
    assert offered(writing, "a", "b", "c", "d", "e") == [True, True, True, False, False]
    assert (writing.figures.dropped, writing.figures.bytes_queued) == (2, 3 * SIZE)
    tier.open.set()
    assert writing.drain(10)
    assert offered(writing, "d") == [True]
    assert writing.close(10)
    assert len(tier.order) == 4


def test_the_same_picture_again_while_it_is_on_its_way_is_written_once() -> None:
    tier = MemoryTier()
    tier.open.clear()
    writing = WriteBehind([tier], NAMESPACE, 100 * SIZE)
    assert offered(writing, "a", "a", "a") == [True, True, True]
    tier.open.set()
    assert writing.close(10)
    assert (len(tier.order), writing.figures.repeated) == (1, 2)


def test_forgetting_what_is_queued_or_being_written_wins() -> None:
    tier = MemoryTier()
    tier.open.clear()
    writing = WriteBehind([tier], NAMESPACE, 100 * SIZE)
    offered(writing, "being written", "queued", "kept")
    tier.entered.acquire()
    writing.forget(key_of("being written"))
    writing.forget(key_of("queued"))
    tier.open.set()
    assert writing.close(10)
    assert list(tier.held) == writing.take_done() == [key_of("kept")]
    assert writing.figures.forgotten == 2


def test_forgetting_what_was_written_and_not_told_yet_keeps_it_untold() -> None:
    tier = MemoryTier()
    writing = WriteBehind([tier], NAMESPACE, 100 * SIZE)
    offered(writing, "a")
    assert writing.close(10)
    writing.forget(key_of("a"))
    assert writing.take_done() == []


def test_what_cannot_be_fetched_or_packed_is_counted_and_the_next_is_written() -> None:
    tier = MemoryTier()
    writing = WriteBehind([tier], NAMESPACE, 100 * SIZE)

    def broken() -> Embedding:
        raise RuntimeError("CUDA error")

    assert writing.offer("b" * 64, broken, SIZE)
    assert writing.offer("c" * 64, lambda: embedding("of no shape", rows=0), SIZE)
    offered(writing, "a")
    assert writing.close(10)
    assert (writing.figures.failed, list(tier.held)) == (2, [key_of("a")])


def test_what_a_tier_refuses_is_not_told_as_saved() -> None:
    tier = MemoryTier()
    tier.refuses = True
    writing = WriteBehind([tier], NAMESPACE, 100 * SIZE)
    offered(writing, "a")
    assert writing.close(10)
    assert writing.take_done() == []
    assert writing.figures.saved == 0


def test_nothing_is_taken_any_more_after_the_end() -> None:
    writing = WriteBehind([MemoryTier()], NAMESPACE, 100 * SIZE)
    assert writing.close(10)
    assert offered(writing, "a") == [False]
