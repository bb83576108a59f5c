"""What of errors is told, and what may stand in a URL."""

import pytest
from redis.exceptions import ResponseError

from server.engine.encoder_cache.redis_line import check_url, code_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed", "oom"),
        ("READONLY You can't write against a read only replica.", "readonly"),
        ("ERR unknown", "err"),
        ("secret of somebody", "error"),
        ("SOMETHING new", "error"),
        ("A" * 40 + " x", "error"),
        ("", "error"),
    ],
)
def test_of_an_error_its_code_alone_is_told(text: str, code: str) -> None:
    assert code_of(ResponseError(text)) == code


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@host/0",
        "redis://:s3cret@host:port/0",
        "redis://:s3cret@host/0?socket_timeout=3600",
        "redis://:s3cret@host/0?parser_class=x",
        "redis://:s3cret@host/0?protocol=3",
        "rediss://:s3cret@host/0?ssl_cert_reqs=s3cret",
        "rediss://:s3cret@host/0?ssl_s3cret=1",
        "redis://:s3cret@host/0?ssl_ca_certs=x",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="shared tier's URL") as caught:
        check_url(url)
    assert "s3cret" not in str(caught.value).replace("ssl_s3cret", "")


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://:p%40ss@host:7000/3",
        "rediss://user:pass@host/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required",
        "unix:///run/valkey.sock?db=2",
    ],
)
def test_urls_that_redis_py_knows_are_taken(url: str) -> None:
    check_url(url)
