"""`fovea healthcheck`: asks a gateway or an engine whether it is well, for images without shell or curl.

Run every few seconds, it imports the standard library alone: `server/__main__.py` calls it before anything else.
"""

import argparse
import http.client
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

LIVE = "/health/live"
REPORT = "fovea-report.json"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where we ask, not listen
TIMEOUT_S = 5.0
MOST_BODY = 64 * 1024
MOST_REASON = 300
HEALTHY, UNHEALTHY, USAGE = 0, 1, 2


def default_url(environ: Mapping[str, str]) -> str:
    """The gateway whose environment this is; what stands in its YAML file is not looked at."""
    host = environ.get("FOVEA_HTTP__HOST", "")
    host = EVERYWHERE.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{environ.get('FOVEA_HTTP__PORT', '8080')}{LIVE}"


def ask(url: str, timeout_s: float = TIMEOUT_S) -> tuple[bool, str]:
    """Whether it answers 200, and a sentence. No proxy is asked, no redirect followed. ValueError: no such URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{url}' is not a URL like http://127.0.0.1:8080{LIVE}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout_s)
    shown = f"{parts.hostname}:{connection.port}{parts.path or '/'}"
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        body = answer.read(MOST_BODY)
    except (OSError, http.client.HTTPException) as problem:
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        return False, f"unhealthy: {shown} cannot be asked ({printable(reason)})"
    finally:
        connection.close()
    if answer.status == 200:
        return True, f"healthy: {shown} answers 200"
    reason = reason_of(body)
    return False, f"unhealthy: {shown} answers {answer.status}" + (f" ({reason})" if reason else "")


def gated(folder: Path) -> tuple[bool, str]:
    """Whether the report of the checkpoint there says that its sight has passed the gate, and a sentence."""
    try:
        sight = json.loads((folder / REPORT).read_bytes())["sight"]["verdict"]
    except (OSError, ValueError, KeyError, TypeError):
        sight = None
    if sight == "green":
        return True, f"{folder} has passed the sight gate"
    told = "has failed the sight gate" if sight == "red" else "has not been through the sight gate yet"
    return False, f"not ready: {printable(str(folder))} {told}"


def reason_of(body: bytes) -> str:
    """What an error of ours says of itself; "" of any other answer."""
    try:
        error = json.loads(body)["error"]
        return printable(f"{error['code']}: {error['message']}")
    except (ValueError, KeyError, TypeError):
        return ""


def printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:MOST_REASON]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="fovea healthcheck", description=__doc__)
    parser.add_argument(
        "--url", default=None, help=f"what to ask [the gateway of FOVEA_HTTP__HOST and __PORT, {LIVE}]"
    )
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help=f"seconds to wait [{TIMEOUT_S:g}]")
    parser.add_argument("--gated", type=Path, metavar="DIR", help="its checkpoint's sight has passed the gate, too")
    told = parser.parse_args(arguments)
    try:
        well, sentence = ask(told.url or default_url(os.environ), told.timeout)
        if well and told.gated is not None:
            well, sentence = gated(told.gated)
    except ValueError as problem:
        sys.stderr.write(f"fovea: {problem}\n")
        return USAGE
    sys.stdout.write(sentence + "\n")
    return HEALTHY if well else UNHEALTHY
