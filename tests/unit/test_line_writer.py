import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from server import line_writer
from server.line_writer import LineWriter


class Reader:
    """What lines are written to; it may be stuck."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.entered = threading.Event()
        self.batches: list[list[bytes]] = []
        self.problem: OSError | None = None
        self.failures: list[OSError] = []
        self.writer = LineWriter("test", self.write, lambda count: b"%d lost" % count, self.failures.append)

    def write(self, lines: list[bytes]) -> None:
        self.entered.set()
        assert self.goes_on.wait(20)
        if self.problem is not None:
            raise self.problem
        self.batches.append(lines)

    @property
    def lines(self) -> list[bytes]:
        return [line for batch in self.batches for line in batch]


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.goes_on.set()
    made.writer.close()


def test_lines_are_written_in_their_order_and_many_at_once(reader: Reader) -> None:
    lines = [b"%d" % number for number in range(1000)]
    for line in lines:
        reader.writer.put(line)
    assert reader.writer.flush(10)
    assert reader.lines == lines
    assert len(reader.batches) < 100


def test_what_is_urgent_and_what_is_not_are_both_written_unasked(reader: Reader) -> None:
    for urgent in (True, False):
        reader.entered.clear()
        reader.writer.put(b"line", urgent)
        assert reader.entered.wait(10)


def test_who_puts_never_waits_and_what_was_too_much_is_counted(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_writer, "MOST_BYTES", 100)
    reader.goes_on.clear()
    reader.writer.put(b"x" * 10, urgent=True)
    assert reader.entered.wait(10)
    for _ in range(20):
        reader.writer.put(b"y" * 10)
    assert not reader.writer.flush(0.01)
    reader.goes_on.set()
    assert reader.writer.flush(10)
    assert reader.lines == [b"x" * 10, b"11 lost", *[b"y" * 10] * 9]
    for _ in range(10):  # there is room again, for as many
        reader.writer.put(b"z" * 10)
    assert reader.writer.flush(10)
    assert reader.lines[11:] == [b"z" * 10] * 10


def test_what_cannot_be_written_is_told_once_in_a_row(reader: Reader) -> None:
    for problem in (OSError(28, "full"), OSError(28, "full"), None, OSError(5, "broken")):
        reader.problem = problem
        reader.writer.put(b"line")
        assert reader.writer.flush(10)
    assert [failure.errno for failure in reader.failures] == [28, 5]
    assert reader.lines == [b"line"]


def test_closing_writes_what_is_left(reader: Reader) -> None:
    reader.writer.put(b"last")
    reader.writer.close()
    assert reader.lines == [b"last"]


def test_the_process_does_not_end_before_its_lines_are_written() -> None:
    program = (
        "import sys; from server.line_writer import LineWriter\n"
        "w = LineWriter('w', lambda lines: sys.stdout.writelines(map(bytes.decode, lines)), lambda n: b'', print)\n"
        "for n in range(1000): w.put(b'%d\\n' % n)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(number) for number in range(1000)]
    assert (done.returncode, done.stderr) == (0, "")
