import errno
import multiprocessing
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.engine.encoder_cache.arena import AHEAD_BYTES, GROW_AGAIN_S, GROW_BYTES, Arena
from server.engine.encoder_cache.arena_view import PAGE_BYTES, ArenaView, Span, StaleSpan, start_of

PAGES = 12
SIZES = st.one_of(
    st.sampled_from([0, 1, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1]), st.integers(1, PAGE_BYTES * (PAGES + 1))
)


def made(folder: Path, pages: int = PAGES) -> Arena:
    return Arena.create(pages * PAGE_BYTES, "engine", [folder])


def read(view: ArenaView, span: Span) -> bytes:
    into = bytearray(span.length)
    view.read(span, memoryview(into))
    return bytes(into)


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Every span, read through a mapping of its own, is what was put, whatever came and went around it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.arena = made(Path(self.folder.name))
        self.view = ArenaView.attach(self.arena.handle)
        self.held: list[tuple[Span, bytes]] = []
        self.freed: list[Span] = []

    def teardown(self) -> None:
        self.view.close()
        self.arena.close()
        self.folder.cleanup()

    @rule(length=SIZES, fill=st.integers(0, 255))
    def put(self, length: int, fill: int) -> None:
        free = PAGES - sum(count for span, _ in self.held for _, count in span.runs)
        data = (bytes([fill]) + os.urandom(15)) * (length // 16 + 1)
        span = self.arena.put(data[:length])
        assert (span is not None) == (max(1, -(-length // PAGE_BYTES)) <= free)
        if span is not None:
            self.held.append((span, data[:length]))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), wiped=st.booleans())
    def free(self, data: st.DataObject, wiped: bool) -> None:
        span, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if wiped:
            self.arena.wipe(span)
            assert not any(read(self.view, span))
        self.arena.free(span)
        self.freed.append(span)

    @invariant()
    def no_page_is_in_two_spans_and_each_reads_as_what_was_put(self) -> None:
        pages = [
            page for span, _ in self.held for first, count in span.runs for page in range(first, first + count)
        ]
        assert len(pages) == len(set(pages))
        for span, data in self.held:
            assert read(self.view, span) == data

    @invariant()
    def what_was_freed_is_never_read_again(self) -> None:
        for span in self.freed[-4:]:
            with pytest.raises(StaleSpan):
                self.view.pieces(span)


AnyOrderOfCalls.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase


def read_elsewhere(handle: str, span: Span, answer: "multiprocessing.SimpleQueue[bytes]") -> None:
    answer.put(read(ArenaView.attach(handle), span))


def test_another_process_reads_what_was_put(tmp_path: Path) -> None:
    arena = made(tmp_path)
    data = os.urandom(3 * PAGE_BYTES + 17)
    span = arena.put(data)
    spawn = multiprocessing.get_context("spawn")
    answer: multiprocessing.SimpleQueue[bytes] = spawn.SimpleQueue()
    worker = spawn.Process(target=read_elsewhere, args=(arena.handle, span, answer))
    worker.start()
    assert answer.get() == data
    worker.join()
    arena.close()


def test_most_spans_are_one_run_and_a_scattered_one_reads_the_same(tmp_path: Path) -> None:
    arena = made(tmp_path, pages=8)
    spans = [arena.put(bytes([n]) * PAGE_BYTES) for n in range(8)]
    assert all(span and len(span.runs) == 1 for span in spans)
    for n in (1, 4, 6):
        arena.free(spans[n])  # type: ignore[arg-type]
    data = os.urandom(3 * PAGE_BYTES - 5)
    span = arena.put(data)
    assert span is not None
    assert span.runs == ((1, 1), (4, 1), (6, 1))
    assert read(arena.view, span) == data
    arena.close()


def test_a_span_that_is_given_to_another_entry_while_it_is_read_is_told(tmp_path: Path) -> None:
    arena = made(tmp_path)
    span = arena.put(b"first")
    assert span is not None
    pieces = arena.view.pieces(span)
    arena.free(span)
    again = arena.put(b"other")
    assert again is not None
    assert bytes(pieces[0]) == b"other"
    with pytest.raises(StaleSpan):
        arena.view.check(span)
    del pieces
    arena.close()


def test_freed_twice_is_a_bug_that_is_told(tmp_path: Path) -> None:
    arena = made(tmp_path)
    span = arena.put(b"data")
    assert span is not None
    arena.free(span)
    with pytest.raises(ValueError, match="twice"):
        arena.free(span)
    arena.close()


def test_the_file_is_the_users_alone_and_gone_after(tmp_path: Path) -> None:
    arena = made(tmp_path)
    assert stat.S_IMODE(os.stat(arena.handle).st_mode) == 0o600
    arena.close()
    assert not os.path.exists(arena.handle)


def test_those_who_attached_read_on_after_the_owner_has_gone(tmp_path: Path) -> None:
    arena = made(tmp_path)
    span = arena.put(b"data")
    view = ArenaView.attach(arena.handle)
    arena.close()
    assert span is not None
    assert read(view, span) == b"data"


def test_memory_is_allocated_as_it_comes_to_be_needed(tmp_path: Path) -> None:
    arena = made(tmp_path, pages=4096)
    before = os.stat(arena.handle).st_blocks * 512
    assert arena.put(b"one") is not None
    after = os.stat(arena.handle).st_blocks * 512
    assert before < 1 << 20
    assert GROW_BYTES <= after < 2 * GROW_BYTES
    arena.close()


def test_memory_is_allocated_ahead_of_who_needs_it_where_there_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = made(tmp_path, pages=2 * AHEAD_BYTES // PAGE_BYTES)
    arena.prepare()
    assert AHEAD_BYTES <= os.stat(arena.handle).st_blocks * 512 < AHEAD_BYTES + 2 * GROW_BYTES
    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", lambda *_: pytest.fail("there is enough"))
        arena.prepare()
        assert arena.put(bytes(AHEAD_BYTES)) is not None
    arena.prepare()
    assert os.stat(arena.handle).st_blocks * 512 >= 2 * AHEAD_BYTES
    arena.close()
    arena.prepare()


def test_a_place_that_is_full_is_not_asked_for_memory_ahead_of_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = made(tmp_path)
    tries: list[object] = []

    def full(*given: object) -> None:
        tries.append(given)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    arena.prepare()
    asked = len(tries)
    assert asked
    arena.prepare()
    assert len(tries) == asked
    arena.close()


def test_a_place_that_has_filled_up_makes_it_smaller_and_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arena = made(tmp_path, pages=4096)
    assert arena.put(bytes(PAGE_BYTES)) is not None

    tries: list[object] = []

    def full(*given: object) -> None:
        tries.append(given)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full)
        patch.setattr(arena, "_clock", lambda: 1000.0)
        assert arena.put(bytes(1024 * PAGE_BYTES)) is None
        assert arena.capacity_bytes == GROW_BYTES
        assert "stays at 8 MiB instead of 256" in caplog.text
        assert arena.put(bytes(GROW_BYTES - PAGE_BYTES)) is not None
        assert arena.put(bytes(PAGE_BYTES)) is None
        assert len(tries) == 1
    monkeypatch.setattr(arena, "_clock", lambda: 1000.0 + GROW_AGAIN_S)
    assert arena.capacity_bytes == 4096 * PAGE_BYTES
    assert arena.put(bytes(1024 * PAGE_BYTES)) is not None
    arena.close()


def test_a_place_that_is_nearly_full_gives_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = made(tmp_path, pages=4096)
    grow = os.posix_fallocate
    asked: list[int] = []

    def nearly_full(fd: int, at: int, length: int) -> None:
        asked.append(length // PAGE_BYTES)
        if length > 100 * PAGE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        grow(fd, at, length)

    monkeypatch.setattr("os.posix_fallocate", nearly_full)
    assert arena.put(bytes(70 * PAGE_BYTES)) is not None
    assert asked == [GROW_BYTES // PAGE_BYTES, 70]
    arena.close()


def test_what_the_system_writes_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = made(tmp_path)
    pwrite = os.pwrite
    data = os.urandom(2 * PAGE_BYTES)
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", lambda fd, piece, at: pwrite(fd, piece[:5000], at))
        span = arena.put(data)
    assert span is not None
    assert read(arena.view, span) == data
    arena.close()


def test_a_write_that_fails_takes_no_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = made(tmp_path)

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(arena, "_write", broken)
        assert arena.put(bytes(PAGES * PAGE_BYTES)) is None
    assert arena.put(bytes(PAGES * PAGE_BYTES)) is not None
    arena.close()


@pytest.mark.parametrize("content", [b"", b"FOVEA", bytes(start_of(4) + 4 * PAGE_BYTES)])
def test_a_file_that_is_no_arena_is_not_attached(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other"
    other.write_bytes(content)
    other.chmod(0o600)
    with pytest.raises(ValueError, match="arena"):
        ArenaView.attach(str(other))


def test_a_file_that_others_may_write_is_not_attached(tmp_path: Path) -> None:
    arena = made(tmp_path)
    os.chmod(arena.handle, 0o666)
    with pytest.raises(ValueError, match="alone"):
        ArenaView.attach(arena.handle)
    arena.close()


def test_a_mapping_may_be_writable_for_cuda_to_register(tmp_path: Path) -> None:
    arena = made(tmp_path)
    assert arena.view.buffer.readonly
    assert not ArenaView.attach(arena.handle, writable=True).buffer.readonly
    arena.close()
