"""A bucket of S3, or of what speaks its protocol: fetched from by `pull`, written to by `push`."""

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from quantize.errors import PullFailed, UsageError
from quantize.optional import library
from quantize.origins.origin import SourceFile, SourceLost, told

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s]+)*/?")
CHUNK = 16 << 20  # of one request, each of which has REQUEST_S
REQUEST_S = 120
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# Of the shared credentials file, by the library's names.
KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
LOGIN = "see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, or the pod's role"


def open_bucket(where: str, endpoint: str | None, environ: Mapping[str, str] = os.environ) -> Any:
    """obstore's client of BUCKET/PREFIX. Connects to nothing. Raises UsageError."""
    bucket, _, prefix = where.partition("/")
    endpoint = endpoint or next((environ[name] for name in ENDPOINTS if environ.get(name)), None)
    given: dict[str, Any] = {**credentials(environ), **({"aws_endpoint_url_s3": endpoint} if endpoint else {})}
    if not any(environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")):
        given["region"] = read_profile(environ, "AWS_CONFIG_FILE", "config").get("region", "us-east-1")
    options = {
        "allow_http": (endpoint or "").startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "timeout": timedelta(seconds=REQUEST_S),
    }
    retries = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
    try:
        store, within = library("obstore.store").S3Store, prefix.strip("/") or None
        return store(bucket, prefix=within, client_options=options, retry_config=retries, **given)
    except (library("obstore.exceptions").BaseError, ValueError) as problem:
        raise UsageError(f"s3://{where} cannot be asked: {told(problem)} ({LOGIN})") from problem


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment's, or those of the shared credentials file, which the library does not read.

    A pod's role (web identity, container, machine) it finds by itself.
    """
    if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return {}
    found = {name: environ[name.upper()] for name in KEYS if environ.get(name.upper())}
    if "aws_access_key_id" not in found:
        found = read_profile(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials")
    return {ours: found[theirs] for theirs, ours in KEYS.items() if theirs in found}


def read_profile(environ: Mapping[str, str], variable: str, name: str) -> dict[str, str]:
    """Of ~/.aws/NAME, or the file that `variable` names; nothing where there is none that can be read."""
    path = Path(environ.get(variable) or Path(environ.get("HOME", "/")) / ".aws" / name)
    profile = environ.get("AWS_PROFILE", "default")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path)
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    section = next((each for each in (profile, f"profile {profile}") if parser.has_section(each)), None)
    return dict(parser[section]) if section else {}


class Bucket:
    """Objects are read by their ETag: one that is replaced meanwhile is noticed."""

    def __init__(self, where: str, endpoint: str | None) -> None:
        self.where = f"s3://{where}"
        self._obstore = library("obstore")
        self._errors = library("obstore.exceptions")
        self._store = open_bucket(where, endpoint)

    def files(self) -> list[SourceFile]:
        try:
            # A folder that some tools mark by an object of no bytes has no name here.
            found = [each for batch in self._obstore.list(self._store) for each in batch if each["path"]]
        except (self._errors.BaseError, OSError, ValueError) as problem:
            raise PullFailed(f"{self.where} cannot be read: {told(problem)} ({LOGIN})") from problem
        return [SourceFile(each["path"], each["size"], identity_of(each)) for each in found]

    def read(self, file: SourceFile, start: int) -> Iterator[bytes]:
        while start < file.size:
            options: dict[str, Any] = {"range": (start, min(file.size, start + CHUNK))}
            if file.identity.startswith('"'):
                options["if_match"] = file.identity
            try:
                chunk = bytes(self._obstore.get(self._store, file.name, options=options).bytes())
            except self._errors.PreconditionError as problem:
                raise PullFailed(f"{self.where}/{file.name} was replaced: run the same command again") from problem
            except (self._errors.PermissionDeniedError, self._errors.UnauthenticatedError) as problem:
                raise PullFailed(f"{self.where}/{file.name} may not be read: {LOGIN}") from problem
            except FileNotFoundError as problem:
                raise PullFailed(f"{self.where}/{file.name} is gone: run the same command again") from problem
            except (self._errors.BaseError, OSError, ValueError) as problem:
                raise SourceLost(told(problem)) from problem
            yield chunk
            start += len(chunk)


def identity_of(listed: Mapping[str, Any]) -> str:
    return str(listed.get("e_tag") or listed["last_modified"])
