import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from server.span import Spans, Trace
from server.traces.queue import BATCH_SPANS, LOST, Fate, TraceQueue

WAIT_S = 60


def ended(spans: int) -> Spans:
    trace = Trace(7)
    for _ in range(spans - 1):
        trace.spans[0].begin("x")
    return tuple(trace.spans)


class Receiver:
    """Takes batches, or refuses them, once it is let `go`; `heard` is set at each."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Spans]] = []
        self.takes = True
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Semaphore(0)
        self.fates: Counter[Fate] = Counter()
        self.counted = threading.Condition()

    def send(self, batch: Sequence[Spans]) -> bool:
        self.asked.release()
        assert self.go.wait(WAIT_S)
        self.batches.append(batch)
        return self.takes

    def count(self, fate: Fate, spans: int) -> None:
        with self.counted:
            self.fates[fate] += spans
            self.counted.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.counted:
            assert self.counted.wait_for(condition, WAIT_S)


def test_what_is_put_arrives_and_is_counted() -> None:
    receiver = Receiver()
    queue = TraceQueue(receiver.send, 100, receiver.count, delay_s=0.01)
    queue.start()
    queue.put(ended(3))
    queue.put(ended(2))
    receiver.wait_for(lambda: receiver.fates["sent"] == 5)
    queue.close(WAIT_S)
    assert [len(spans) for batch in receiver.batches for spans in batch] == [3, 2]
    assert (receiver.fates["dropped"], receiver.fates["failed"]) == (0, 0)


def test_a_full_batch_does_not_wait_for_its_time() -> None:
    receiver = Receiver()
    queue = TraceQueue(receiver.send, 2 * BATCH_SPANS, receiver.count, delay_s=10 * WAIT_S)
    queue.start()
    queue.put(ended(1))
    for _ in range(BATCH_SPANS // 64):
        queue.put(ended(64))
    receiver.wait_for(lambda: receiver.fates["sent"] == BATCH_SPANS + 1)
    assert all(sum(map(len, batch)) <= BATCH_SPANS for batch in receiver.batches)
    queue.close(WAIT_S)


def test_what_is_too_much_is_dropped_and_counted_and_nobody_waits() -> None:
    receiver = Receiver()
    receiver.go.clear()
    queue = TraceQueue(receiver.send, 10, receiver.count, delay_s=0.01)
    queue.start()
    queue.put(ended(4))
    assert receiver.asked.acquire(timeout=WAIT_S)  # the receiver hangs with these
    for _ in range(100):
        queue.put(ended(4))
    assert receiver.fates["dropped"] == 98 * 4
    receiver.go.set()
    receiver.wait_for(lambda: receiver.fates["sent"] == 12)
    queue.close(WAIT_S)


def test_one_request_larger_than_a_batch_goes_alone() -> None:
    receiver = Receiver()
    queue = TraceQueue(receiver.send, 4 * BATCH_SPANS, receiver.count, delay_s=0.01)
    for size in (BATCH_SPANS + 1, 1):
        queue.put(ended(1) * size)
    queue.start()
    receiver.wait_for(lambda: receiver.fates["sent"] == BATCH_SPANS + 2)
    assert [sum(map(len, batch)) for batch in receiver.batches] == [BATCH_SPANS + 1, 1]
    queue.close(WAIT_S)


def test_a_receiver_that_takes_nothing_is_told_of_once_and_so_is_its_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "fovea.traces")
    receiver = Receiver()
    receiver.takes = False
    queue = TraceQueue(receiver.send, 100, receiver.count, delay_s=0.01)
    queue.start()
    for number in range(3):
        queue.put(ended(1))
        receiver.wait_for(lambda wanted=number + 1: receiver.fates["failed"] == wanted)
    receiver.takes = True
    for number in range(2):
        queue.put(ended(1))
        receiver.wait_for(lambda wanted=number + 1: receiver.fates["sent"] == wanted)
    queue.close(WAIT_S)
    assert caplog.messages == [LOST, "the receiver of traces takes spans again"]


def test_what_waits_at_the_end_is_sent() -> None:
    receiver = Receiver()
    queue = TraceQueue(receiver.send, 100, receiver.count, delay_s=10 * WAIT_S)
    queue.start()
    queue.put(ended(3))
    queue.close(WAIT_S)
    assert receiver.fates == {"sent": 3, "dropped": 0}


def test_a_receiver_that_hangs_holds_no_end_up_and_what_was_left_is_counted() -> None:
    receiver = Receiver()
    receiver.go.clear()
    queue = TraceQueue(receiver.send, 100, receiver.count, delay_s=0.01)
    queue.start()
    queue.put(ended(1))
    assert receiver.asked.acquire(timeout=WAIT_S)
    queue.put(ended(3))
    queue.close(0.01)
    assert receiver.fates["dropped"] == 3
    receiver.go.set()
