"""Makes API keys and their entries for the keys file."""

import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import yaml

from server.admission.credentials import MOST_CREDENTIAL_BYTES, VISIBLE
from server.admission.key_file import Entry, parse_keys, read_content
from server.admission.keys import KnownKey
from server.errors import ConfigError

# 256 bits. The prefix lets secret scanners, and people, see what has leaked.
PREFIX = "fv-"
ENTROPY_BYTES = 32


def make_key() -> str:
    return PREFIX + secrets.token_urlsafe(ENTROPY_BYTES)


def hash_key(key: str) -> str:
    """The hash as the keys file has it. Raises ConfigError for what no header could carry."""
    raw = key.encode()
    if not VISIBLE.fullmatch(raw) or len(raw) > MOST_CREDENTIAL_BYTES:
        raise ConfigError(f"a key is visible ASCII without spaces, at most {MOST_CREDENTIAL_BYTES} bytes")
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def show_entry(entry: Entry) -> str:
    """The entry as a piece of the file's YAML."""
    fields = entry.model_dump(mode="json", exclude_none=True)
    lines = yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=1000).splitlines()
    return "".join(f"{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def append_entry(path: Path, entry: Entry) -> None:
    """Add an entry: the file is replaced as a whole, or not at all, and keeps its comments. Raises ConfigError."""
    path = path.resolve()
    try:
        with locked(path.parent):
            content = read_content(path) if path.exists() else b"keys:\n"
            before = parse_keys(content, path) if path.exists() else []
            extended = extend(content, entry)
            if not is_extended(extended, [*before, entry.known()], path):
                raise ConfigError(f"{path} is written in a way that cannot be added to: add the entry by hand")
            replace_file(path, extended)
    except OSError as problem:
        raise ConfigError(f"cannot write {path}: {problem.strerror}") from problem


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One at a time may read, extend and replace: of two at once, one entry would be lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def extend(content: bytes, entry: Entry) -> bytes:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        # As YAML's text, so that comments stay; whoever calls looks whether this was right.
        joint = b"" if content.endswith(b"\n") else b"\n"
        return content + joint + show_entry(entry).encode()
    document["keys"].append(entry.model_dump(mode="json", exclude_none=True))
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def is_extended(content: bytes, expected: list[KnownKey], path: Path) -> bool:
    try:
        return parse_keys(content, path) == expected
    except ConfigError:
        return False


def replace_file(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise
