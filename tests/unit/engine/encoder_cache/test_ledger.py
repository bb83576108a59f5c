import errno
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.engine.encoder_cache.ledger import Sums, open_ledger


def test_what_is_written_is_read_by_the_next_and_at_first_there_is_nothing(tmp_path: Path) -> None:
    sums = Sums(10**12, 5, 2 * 10**12, 1_700_000_000.5)
    with open_ledger(str(tmp_path / "new" / "root"), 0) as ledger:
        assert ledger.read() is None
        ledger.write(sums)
    with open_ledger(str(tmp_path / "new" / "root"), 0) as ledger:
        assert ledger.read() == sums


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    root = str(tmp_path)
    with open_ledger(root, 0) as ledger:
        ledger.write(Sums(0, 0, 0, 0))

    def add(_: int) -> None:
        with open_ledger(root, 10) as ledger:
            there = ledger.read()
            assert there is not None
            ledger.write(Sums(there.used_bytes + 1, 0, 0, 0))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(200)))
    with open_ledger(root, 0) as ledger:
        assert ledger.read() == Sums(200, 0, 0, 0)


def test_who_waits_in_vain_is_told_so(tmp_path: Path) -> None:
    with (
        open_ledger(str(tmp_path), 0),
        pytest.raises(OSError, match="held by others") as caught,
        open_ledger(str(tmp_path), 0.01),
    ):
        pass
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_lock_on_a_folder_that_was_removed_meanwhile_is_no_lock(tmp_path: Path) -> None:
    root = tmp_path / "root"
    entered = threading.Event()

    def wait_for_it() -> Sums | None:
        entered.set()
        with open_ledger(str(root), 10) as ledger:
            ledger.write(Sums(1, 1, 1, 1))
            return ledger.read()

    with ThreadPoolExecutor(1) as pool:
        with open_ledger(str(root), 0):
            waiting = pool.submit(wait_for_it)
            entered.wait()
            root.rename(tmp_path / "gone")  # all at once: who waits may be about to make it anew
            shutil.rmtree(tmp_path / "gone")
        assert waiting.result() == Sums(1, 1, 1, 1)
    with open_ledger(str(root), 0) as ledger:
        assert ledger.read() == Sums(1, 1, 1, 1)
