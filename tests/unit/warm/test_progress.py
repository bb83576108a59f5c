import io

from server.warm.progress import Lines, progress_of


def test_elsewhere_than_on_a_terminal_a_line_now_and_then_tells_how_long_it_takes() -> None:
    out, now = io.StringIO(), [0.0]
    lines = Lines(100, out, lambda: now[0])
    for second in range(1, 26):
        now[0] = float(second)
        lines.step()
    assert out.getvalue().splitlines() == [
        "10 of 100 pictures, about 90 s left",
        "20 of 100 pictures, about 80 s left",
    ]


def test_a_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with progress_of(2, out) as bar:
        bar.step()
        bar.step()
    assert "2/2" in out.getvalue()
    assert isinstance(progress_of(2, io.StringIO()), Lines)
