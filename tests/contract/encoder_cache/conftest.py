from collections.abc import Iterator

import pytest
import redis

from tests.valkey import Valkey


@pytest.fixture
def store(valkey: Valkey) -> Iterator["redis.Redis[bytes]"]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client
