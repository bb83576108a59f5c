import pytest

from server.doctor.deployment import Said, shown, told


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://user:SECRET@gateway.example/x", "https://gateway.example/x"),
        ("user:SECRET@gateway.example", "gateway.example"),
    ],
)
def test_what_may_be_a_password_is_not_shown(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_an_answer_is_told_by_its_status_and_none_by_its_reason() -> None:
    assert told(Said(503, b"anything")) == "answers 503"
    assert told(Said(0, b"Connection refused")) == "Connection refused"
