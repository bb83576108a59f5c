"""What a server says of itself before it is asked anything: its model and its version."""

import aiohttp
import orjson

MOST_BYTES = 1024**2
TIMEOUT = aiohttp.ClientTimeout(total=30)


class TargetError(ValueError):
    """There is nothing to load at this address: one sentence that says why."""


async def find_model(url: str, key: str) -> str:
    """The first that /models lists. Raises TargetError."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    asked = f"{url.rstrip('/')}/models"
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session, session.get(asked, headers=headers) as answer:
            if answer.status != 200:
                raise TargetError(f"{asked} answered {answer.status}: is there a key, and does --url end in /v1?")
            return str(orjson.loads(await answer.content.read(MOST_BYTES))["data"][0]["id"])
    except (aiohttp.ClientError, OSError) as problem:
        raise TargetError(f"{asked} does not answer ({type(problem).__name__})") from problem
    except (orjson.JSONDecodeError, LookupError, TypeError) as problem:
        raise TargetError(f"{asked} lists no model: name one with --model") from problem


async def read_version(session: aiohttp.ClientSession, url: str) -> dict[str, str]:
    """As vLLM tells it at /version; nothing where nobody tells."""
    asked = url.rstrip("/").removesuffix("/v1") + "/version"
    try:
        async with session.get(asked, timeout=TIMEOUT) as answer:
            told = orjson.loads(await answer.content.read(MOST_BYTES)) if answer.status == 200 else {}
    except (aiohttp.ClientError, OSError, orjson.JSONDecodeError):
        return {}
    return {"version": str(told["version"])[:64]} if isinstance(told, dict) and "version" in told else {}
