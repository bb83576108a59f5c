"""How this program asks any server over HTTP: what a hostile or odd one may do to it is bounded here."""

import re

import aiohttp

# Less than servers keep idle connections (uvicorn: 5 s): a request never goes out on one that is being closed.
KEEPALIVE_S = 3
_USER, _QUERY = re.compile(r"://[^/?#\s]*@"), re.compile(r"(://[^?#\s]*)[?#]\S*")


def open_session(timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """Asks for nothing compressed and unpacks nothing (a few bytes may become gigabytes); keeps no cookies, which
    would bind a run to one engine behind a balancer."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
        timeout=timeout,
        headers={"accept-encoding": "identity"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def read_whole(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """To its end, or its first `most_bytes`."""
    read = b""
    while len(read) < most_bytes and (more := await response.content.read(most_bytes - len(read))):
        read += more
    return read


def without_secrets(text: str) -> str:
    """Without the user, password and query that an address in it may have."""
    return _QUERY.sub(r"\1", _USER.sub("://", text))
