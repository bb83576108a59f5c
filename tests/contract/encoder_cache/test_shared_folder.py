"""A folder that machines share, as network file systems have it: it vanishes, is something else, or hangs."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.engine.encoder_cache.entry import key_of
from server.engine.encoder_cache.folder_tier import FolderTier
from tests.contract.encoder_cache.entries import NAMESPACE, entry


@contextmanager
def shared(root: Path) -> Iterator[FolderTier]:
    tier = FolderTier(root, NAMESPACE, 1 << 20, None, "shared")
    try:
        yield tier
    finally:
        tier.close()


def make_in_place_of(root: Path, make: Callable[[Path], None]) -> None:
    """A tier's janitor may have made the folder again before we could."""
    for number in range(100):
        try:
            return make(root)
        except OSError:
            root.rename(root.with_name(f"gone-{number}"))
    raise AssertionError(f"{root} comes again and again")


def write_nothing(path: Path) -> None:
    path.open("xb").close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "replace",
    [lambda root: None, os.mkfifo, write_nothing, lambda root: root.symlink_to(root)],
    ids=["nothing", "a FIFO", "a file", "a link to itself"],
)
def test_where_the_folder_was_is_something_else(tmp_path: Path, replace: Callable[[Path], None]) -> None:
    """Misses meanwhile, and it is used again when it is back."""
    root, aside = tmp_path / "shared", tmp_path / "aside"
    with shared(root) as tier, shared(root) as neighbour:
        assert tier.put(*entry("a"))
        root.rename(aside)
        make_in_place_of(root, replace)
        assert tier.get(key_of("a")) is None
        written = tier.put(*entry("b"))
        assert neighbour.forgotten_since(0) == []
        if not root.is_dir():  # else nothing was in its place, and it was made again
            assert not written
            assert not tier.forget(key_of("a"))
            root.unlink()
        make_in_place_of(root, aside.rename)
        assert tier.get(key_of("a"))
        assert tier.put(*entry("c"))
        assert neighbour.get(key_of("c"))


HOLD = """
import sys
from server.engine.encoder_cache.ledger import open_ledger
with open_ledger(sys.argv[1], 10):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.timeout(60)
def test_a_machine_that_hangs_with_the_lock_costs_writes_and_no_lookup(tmp_path: Path) -> None:
    """Until it is dead: its lock goes with it."""
    root = tmp_path / "shared"
    with shared(root) as tier:
        assert tier.put(*entry("a"))
        command = [sys.executable, "-c", HOLD, str(root)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout
            assert other.stdout.readline() == b"held\n"
            assert tier.get(key_of("a"))
            assert not tier.put(*entry("b"))
            assert tier.get(key_of("a"))
            other.kill()
        assert tier.put(*entry("b"))
        assert sum(tier.figures.failures.values()) == 1
