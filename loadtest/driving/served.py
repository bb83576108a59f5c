"""What a server says of itself before it is asked anything: its model and its version."""

import aiohttp
import orjson

from loadtest.driving.answers import open_session, read_whole, without_secrets
from loadtest.driving.pages import Pages
from loadtest.driving.stream import word_of

MOST_BYTES = 1024**2
TIMEOUT, VERSION_TIMEOUT = aiohttp.ClientTimeout(total=30), aiohttp.ClientTimeout(total=5)


class TargetError(ValueError):
    """There is nothing to load at this address: one sentence that says why."""


async def find_model(url: str, key: str) -> str:
    """The first that /models lists. Raises TargetError."""
    if not url.startswith(("http://", "https://")):
        raise TargetError("--url must begin with http:// or https://, such as http://127.0.0.1:8080/v1")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    asked = f"{url.rstrip('/')}/models"
    shown = without_secrets(asked)
    try:
        async with (
            open_session(TIMEOUT) as session,
            session.get(asked, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise TargetError(f"{shown} answered {answer.status}: {advice_for(answer.status)}")
            return str(orjson.loads(await read_whole(answer, MOST_BYTES))["data"][0]["id"])
    except (aiohttp.ClientError, OSError) as problem:
        raise TargetError(f"{shown} does not answer ({type(problem).__name__})") from problem
    except (orjson.JSONDecodeError, LookupError, TypeError) as problem:
        raise TargetError(f"{shown} lists no model: name one with --model") from problem


def advice_for(status: int) -> str:
    if status in (401, 403):
        return "it wants an API key, from OPENAI_API_KEY or the variables that the scenario's tenants name"
    if 300 <= status < 400:
        return "redirects are not followed, say where it leads to with --url"
    return "is it an OpenAI-compatible server, and does --url end in /v1?"


async def check_pages(pages: Pages) -> None:
    """A page that cannot be read is told before the run, not missed after it. Raises TargetError."""
    async with open_session(TIMEOUT) as session:
        for page in pages.addresses:
            shown = f"--metrics {without_secrets(page)}"
            try:
                async with session.get(page, headers=pages.headers(page), allow_redirects=False) as answer:
                    if answer.status != 200:
                        raise TargetError(f"{shown} answered {answer.status}: {advice_for_page(answer.status)}")
            except (aiohttp.ClientError, OSError) as problem:
                raise TargetError(f"{shown} does not answer ({type(problem).__name__})") from problem


def advice_for_page(status: int) -> str:
    if status in (401, 403):
        return "it wants a key that may read it, from FOVEA_METRICS_KEY (shown to the server at --url alone)"
    return "is it the whole address of a page?"


async def read_version(session: aiohttp.ClientSession, url: str) -> dict[str, str]:
    """As vLLM tells it at /version; nothing where nobody tells."""
    asked = url.rstrip("/").removesuffix("/v1") + "/version"
    try:
        async with session.get(asked, timeout=VERSION_TIMEOUT, allow_redirects=False) as answer:
            told = orjson.loads(await read_whole(answer, MOST_BYTES)) if answer.status == 200 else {}
    except (aiohttp.ClientError, OSError, orjson.JSONDecodeError):
        return {}
    return {"version": word_of(str(told["version"]))} if isinstance(told, dict) and "version" in told else {}
