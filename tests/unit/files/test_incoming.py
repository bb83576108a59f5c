import errno
import subprocess
import sys
from pathlib import Path

import pytest

from server.errors import FileStoreFailed, FileStoreFull
from server.files.blobs import DiskThreads
from server.files.incoming import Incoming
from server.metrics import Metrics

DIES = """
import os, pathlib, sys
from server.files.incoming import Incoming
part = Incoming.open(pathlib.Path(sys.argv[1])).begin()
part.write([b"half"])
part._file.flush()
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_removed_at_the_next_start_and_what_a_live_one_writes_is_not(
    tmp_path: Path,
) -> None:
    alive = Incoming.open(tmp_path)
    mine = alive.begin()
    mine.write([b"mine"])
    assert subprocess.run([sys.executable, "-c", DIES, str(tmp_path)]).returncode == -9
    assert len(list(tmp_path.glob("*/*.part"))) == 2
    second = Incoming.open(tmp_path)
    assert list(tmp_path.glob("*/*.part")) == [mine.path]
    mine.finish()
    assert mine.read() == b"mine"
    alive.close()
    second.close()
    assert [each.name for each in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("number", "kind", "label"),
    [
        (errno.ENOSPC, FileStoreFull, "full"),
        (errno.EDQUOT, FileStoreFull, "full"),
        (errno.EACCES, FileStoreFailed, "failed"),
        (errno.EROFS, FileStoreFailed, "failed"),
        (errno.EIO, FileStoreFailed, "failed"),
    ],
)
async def test_the_disks_errors_become_ours_and_are_counted(
    number: int, kind: type[FileStoreFailed], label: str
) -> None:
    metrics = Metrics()

    def fail() -> None:
        raise OSError(number, "no", "/secret/path")

    with pytest.raises(FileStoreFailed) as caught:
        await DiskThreads(metrics).run(fail)
    assert type(caught.value) is kind
    assert "secret" not in caught.value.message
    counted = {"place": "disk", "kind": label}
    assert metrics.registry.get_sample_value("fovea_files_failures_total", counted) == 1
