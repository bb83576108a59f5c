"""The audit file under several writers, each with a file of its own opened, as processes have."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server.audit_file import AuditFile

WRITERS, LINES, MOST = 6, 200, 2000


def line(text: str) -> bytes:
    return f"{text}\n".encode()


def test_no_line_of_several_writers_is_lost_broken_or_beyond_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def write(writer: int) -> None:
        file = AuditFile(path, MOST, backups=100)
        for number in range(0, LINES, 2):
            file.write([line(f"{writer}:{each}:{'x' * 20}") for each in (number, number + 1)])
        file.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    written = [each for file in tmp_path.iterdir() for each in file.read_text().splitlines()]
    assert sorted(written) == sorted(f"{w}:{n}:{'x' * 20}" for w in range(WRITERS) for n in range(LINES))
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert max(sizes) <= MOST + WRITERS * 60
    assert len(sizes) <= 2 * sum(sizes) // MOST + 1  # nobody turned over what another had just begun


def test_a_file_that_another_has_turned_over_is_left(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    ours, theirs = AuditFile(path, 100, 3), AuditFile(path, 100, 3)
    for number in range(4):
        ours.write([line(f"{number}" * 60)])
        theirs.write([line(f"{number}" * 30)])
    ours.close()
    theirs.close()
    assert [len(each.read_text().splitlines()) for each in sorted(tmp_path.iterdir())] == [2, 2, 2, 2]
