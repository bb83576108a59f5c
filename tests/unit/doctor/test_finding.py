from server.doctor.finding import Finding, Verdict, as_json, failure, ok, show, warning, worst

FINE, ODD, BROKEN = (
    ok("python", "3.11"),
    warning("clock", "unset", "run NTP"),
    failure("vllm", "gone", "install it"),
)


def test_the_worst_finding_is_the_verdict() -> None:
    cases: list[tuple[list[Finding], Verdict]] = [
        ([], "ok"),
        ([FINE], "ok"),
        ([ODD, FINE], "warning"),
        ([BROKEN, ODD, FINE], "failure"),
    ]
    for findings, verdict in cases:
        assert worst(findings) == verdict == as_json(findings)["verdict"]


def test_what_is_fine_is_a_line_and_what_is_not_says_what_to_do() -> None:
    assert show(FINE) == ["ok       python: 3.11"]
    assert show(ODD) == ["warning  clock: unset", "         -> run NTP"]


def test_what_others_say_forges_no_line() -> None:
    lines = show(failure("gateway", "a\nok       python: 3.11\x1b[2J" + "x" * 10_000, "look"))
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) < 600 for line in lines)


def test_as_json_each_finding_has_its_check_and_what_to_do() -> None:
    assert as_json([ODD])["findings"] == [
        {"check": "clock", "verdict": "warning", "told": "unset", "do": "run NTP"}
    ]
