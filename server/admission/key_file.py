"""The file that API keys come from (a mounted Kubernetes Secret, say): read, checked as a whole, and read again.

It holds hashes only, and nothing that stands in it is ever quoted: what is wrong there may be a plain key.
"""

import asyncio
import hashlib
import logging
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from server.admission.grant import Grant
from server.admission.keys import KeyRing, KnownKey
from server.admission.limits.allowances import Allowances, Changes
from server.allowance import BUDGETS
from server.domain import PRIORITIES, TENANT, TENANT_RULE, KeyScope, Priority, Tenant
from server.errors import ConfigError
from server.metrics import Metrics

TO_DO = "make one with fovea keys new --file, or mount the Secret that holds it (auth.keys_file)"
MOST_BYTES = 1024**2
MOST_KEYS = 4096
MOST_TENANTS = 4096
MOST_DEPTH = 4  # mapping, list, entry, scopes
HASH = re.compile(r"sha256:[0-9a-fA-F]{64}")
Amount = Annotated[int, Field(ge=0, le=10**12, strict=True)] | None
Name = Annotated[str, StringConstraints(pattern=f"^(?:{TENANT.pattern})$")]
# A tenant of the least weight still has its turn.
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100
LIMITS_RULE = f"must be a mapping of {', '.join(BUDGETS)} to whole numbers, or to null for any number"
# pydantic-core's regular expressions are Rust's: $ is the very end there.
RULES = {
    "hash": "must be 'sha256:' and 64 hex digits. A plain key never belongs here: 'fovea keys hash' makes its hash",
    "tenant": f"must be a name: {TENANT_RULE}",
    "scopes": "must be a list of inference, files and admin, with at least one of them",
    "expires": "must be a time with its zone, like 2027-01-31T00:00:00Z",
    "name": f"must be a name: {TENANT_RULE}",
    "priority": f"must be one of {', '.join(PRIORITIES)}",
    "limits": LIMITS_RULE,
    "weight": f"must be a number from {LEAST_WEIGHT} to {MOST_WEIGHT}",
}

log = logging.getLogger("fovea.keys")


class LimitsEntry(BaseModel):
    """What a key or a tenant has other than the settings say; null lifts a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests: Amount = None
    images: Amount = None
    image_tokens: Amount = None
    tokens: Amount = None
    places: Amount = None

    def changes(self) -> Changes:
        return self.model_dump(exclude_unset=True)


class TenantEntry(BaseModel):
    """What the file says of a tenant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: LimitsEntry


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """A whole file: its keys, and what it says of tenants."""

    keys: list[KnownKey]
    tenants: Mapping[str, Changes]


class Entry(BaseModel):
    """One key of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hash: Annotated[str, StringConstraints(pattern=f"^{HASH.pattern}$")]
    tenant: Name
    scopes: tuple[KeyScope, ...] = Field(min_length=1)
    expires: AwareDatetime | None = None
    name: Name | None = None
    priority: Priority | None = None
    limits: LimitsEntry | None = None
    weight: Annotated[float, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT, strict=True)] | None = None

    def known(self) -> KnownKey:
        tenant = Tenant(self.tenant, self.name or "", self.priority or "standard", self.weight or 1)
        grant = Grant(tenant, frozenset(self.scopes))
        expires_s = self.expires.timestamp() if self.expires else None
        limits = self.limits.changes() if self.limits else {}
        return KnownKey(bytes.fromhex(self.hash.removeprefix("sha256:")), grant, expires_s, limits)


def read_content(path: Path) -> bytes:
    """The file's bytes, whatever links lead to it. Raises ConfigError."""
    try:
        # Not blocking: a pipe in the file's place must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"the keys file {path} is not a file")
            content = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise ConfigError(f"cannot read the keys file {path}: {problem.strerror}") from problem
    if len(content) > MOST_BYTES:
        raise ConfigError(f"the keys file {path} is larger than {MOST_BYTES} bytes")
    return content


def parse_keys(content: bytes, path: Path) -> list[KnownKey]:
    """The keys of a file's content, or none of them. Raises ConfigError, which quotes nothing of it."""
    return parse_document(content, path).keys


def parse_document(content: bytes, path: Path) -> KeyDocument:
    """All of a file's content, or nothing of it. Raises ConfigError, which quotes nothing of it."""
    document = load_document(content, path)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ConfigError(f"the keys file {path} must hold a list under the name 'keys'")
    if not document.keys() <= {"keys", "tenants"}:
        raise ConfigError(f"the keys file {path} holds something beside 'keys' and 'tenants'")
    if len(document["keys"]) > MOST_KEYS:
        raise ConfigError(f"the keys file {path} holds more than {MOST_KEYS} keys")
    found: dict[bytes, KnownKey] = {}
    for index, value in enumerate(document["keys"]):
        key = parse_entry(value, f"keys[{index}] of {path}")
        if key.digest in found:
            raise ConfigError(f"keys[{index}] of {path} has a hash that stands there before")
        found[key.digest] = key
    return KeyDocument(list(found.values()), parse_tenants(document.get("tenants", {}), path))


def parse_tenants(tenants: Any, path: Path) -> dict[str, Changes]:
    if not isinstance(tenants, dict) or len(tenants) > MOST_TENANTS:
        raise ConfigError(f"'tenants' of {path} must be a mapping of at most {MOST_TENANTS} tenants")
    found = {}
    for number, (name, value) in enumerate(tenants.items()):
        place = f"tenant {number + 1} of {path}"
        if not isinstance(name, str) or not TENANT.fullmatch(name):
            raise ConfigError(f"{place}: its name {RULES['tenant']}")
        try:
            found[name] = TenantEntry.model_validate(value).limits.changes()
        except ValidationError:
            raise ConfigError(f"{place} must hold 'limits' alone, which {LIMITS_RULE}") from None
    return found


def load_document(content: bytes, path: Path) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass  # YAML, then
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        check_depth(content, loader)
        return yaml.load(content, loader)  # noqa: S506 - either is a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"the keys file {path} is neither JSON nor YAML{place}") from None


def check_depth(content: bytes, loader: Any) -> None:
    """libyaml's loader is ten times as fast, but overflows its stack on deep nesting, and the process is gone."""
    depth = 0
    for event in yaml.parse(content, loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH or isinstance(event, yaml.AliasEvent):
            raise ValueError("deeper than entries are, or an alias")


def parse_entry(value: Any, place: str) -> KnownKey:
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be a mapping with hash, tenant and scopes")
    try:
        return Entry.model_validate(value).known()
    except ValidationError as problem:
        field = problem.errors()[0]["loc"][0]
        if field in RULES:
            raise ConfigError(f"{place}: {field} {RULES[str(field)]}") from None
        raise ConfigError(f"{place} holds something that is none of {', '.join(RULES)}") from None


def check_file(path: Path) -> int:
    """How many keys a gateway would find there. Raises ConfigError."""
    return len(parse_keys(read_content(path), path))


class KeyFile:
    """Keeps a ring at what the file says. A new file that is broken changes nothing but the log and a metric."""

    def __init__(
        self, path: Path, ring: KeyRing, poll_s: float, metrics: Metrics, allowances: Allowances | None = None
    ) -> None:
        self._path = path
        self._ring = ring
        self._poll_s = poll_s
        self._allowances = allowances or Allowances()
        self._metrics = metrics
        self._seen = b""
        self._fault = ""
        self._poller: asyncio.Task[None] | None = None

    def load(self) -> None:
        """The first time: raises ConfigError where the file is missing or broken."""
        try:
            content = read_content(self._path)
        except ConfigError as problem:
            raise ConfigError(f"{problem}: {TO_DO}") from problem
        self._accept(parse_document(content, self._path), content)

    async def start(self) -> None:
        self._poller = asyncio.create_task(self._poll(), name="keys file")

    async def close(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the file again. By its content, not by its time: links are swapped, times are coarse or kept."""
        try:
            content = await asyncio.to_thread(read_content, self._path)
            if hashlib.sha256(content).digest() != self._seen:
                self._accept(await asyncio.to_thread(parse_document, content, self._path), content)
                log.info("keys file read anew: %d keys", len(self._ring))
            elif self._fault:
                log.info("keys file is again the one that was read")
        except ConfigError as problem:
            self._report(str(problem))
        else:
            self._fault = ""
            self._metrics.keys_file_broken.set(0)

    def _accept(self, document: KeyDocument, content: bytes) -> None:
        self._allowances.replace_tenants(document.tenants)
        self._ring.replace(document.keys)
        self._seen = hashlib.sha256(content).digest()
        self._metrics.keys.set(len(self._ring))
        self._metrics.keys_reloads.labels("read").inc()

    def _report(self, fault: str) -> None:
        """One line and one count a fault, however often it is met."""
        self._metrics.keys_file_broken.set(1)
        if fault != self._fault:
            self._fault = fault
            self._metrics.keys_reloads.labels("refused").inc()
            log.error("%s; the keys read before stay", fault)
