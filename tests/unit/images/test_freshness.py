import pytest

from server.images.freshness import Validators, fresh_for


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 60),
        ({"cache-control": "max-age=10"}, 10),
        ({"cache-control": "public, max-age=10", "age": "4"}, 6),
        ({"cache-control": "max-age=10", "age": "40"}, 0),
        ({"cache-control": "max-age=10, s-maxage=20"}, 20),
        ({"cache-control": 'max-age="10"'}, 10),
        ({"cache-control": "MAX-AGE=10"}, 10),
        ({"cache-control": "max-age=999999999"}, 3600),
        ({"cache-control": "max-age=" + "9" * 400}, 0),
        ({"cache-control": "max-age=-1"}, 0),
        ({"cache-control": "max-age=\u0661"}, 0),
        ({"cache-control": "max-age"}, 0),
        ({"cache-control": "no-cache"}, 0),
        ({"cache-control": "no-cache, max-age=10"}, 0),
        ({"cache-control": "no-store"}, None),
        ({"cache-control": "private, max-age=10"}, None),
        ({"vary": "*"}, None),
        ({"cache-control": ",,=,"}, 60),
    ],
)
def test_a_host_says_how_long(headers: dict[str, str], seconds: float | None) -> None:
    assert fresh_for(headers, 60, 3600) == seconds


def test_nothing_is_kept_longer_than_we_say() -> None:
    assert fresh_for({}, 60, 5) == 5


def test_validators_ask_whether_it_still_holds() -> None:
    assert not Validators.of({})
    both = Validators.of({"etag": '"a"', "last-modified": "Sat"})
    assert both
    assert both.headers() == {"if-none-match": '"a"', "if-modified-since": "Sat"}
    assert Validators('"a"').headers() == {"if-none-match": '"a"'}
