"""What may be written down of an address."""

import pytest

from loadtest.driving.answers import without_secrets
from loadtest.driving.run import as_run
from loadtest.driving.sampling import names_of


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("http://h:1/v1", "http://h:1/v1"),
        ("http://me:pass@h:1/v1", "http://h:1/v1"),
        ("http://me:p@ss@h/v1?key=1#x", "http://h/v1"),
        ("https://h/v1#key", "https://h/v1"),
        ("https://h/v1?to=http://u:p@there", "https://h/v1"),
        ("--set=pictures.reuse.kind=unique", "--set=pictures.reuse.kind=unique"),
        ("ttft_p95_ms<500", "ttft_p95_ms<500"),
    ],
)
def test_an_address_is_written_down_without_user_password_and_query(said: str, written: str) -> None:
    assert without_secrets(said) == written


def test_a_command_is_written_down_without_what_is_secret_in_it() -> None:
    told = as_run(
        ["run", "--url=http://u:hidden@h/v1", "--metrics", "http://h/metrics?token=hidden", "--seed", "2"]
    )
    assert told == "fovea-loadtest run --url=http://h/v1 --metrics http://h/metrics --seed 2"


def test_pages_that_differ_by_secrets_alone_are_told_apart() -> None:
    pages = ["http://h/metrics?a=1", "http://h/metrics?a=2", "http://g/metrics", "http://g/metrics"]
    assert names_of(pages) == ["http://h/metrics", "http://h/metrics (2)", "http://g/metrics"]
