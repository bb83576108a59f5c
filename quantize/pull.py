"""A checkpoint, brought here: from the hub, an OCI registry, a bucket or a folder; whole or not at all.

    list ─> what is wanted ─> room ─> fetch, each file from where it stopped ─> compare ─> rename into place

What each file must be, SHA256SUMS there says, and the place itself (the hub, a registry). What a killed pull has
left is gone on with; a folder that is there already is recognized by a note beside it, without the network or
another look at its bytes.
"""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path, PurePosixPath

from quantize.checkpoint import README, read_config, read_tensors
from quantize.durable import disk_errors, git_hash, hash_file, replace_file
from quantize.errors import PullFailed, UnsupportedCheckpoint, UsageError
from quantize.fetch import Tally, fetch
from quantize.manifest import REPORT, SUMS, parse_sums
from quantize.origins.bucket import BUCKET, Bucket
from quantize.origins.folder import Folder
from quantize.origins.hub import Hub
from quantize.origins.origin import Origin, SourceFile, SourceLost
from quantize.origins.registry import Registry
from quantize.source import OTHER_FORMATS
from quantize.staging import OURS, Stage, check_room, staged

Say = Callable[[str], None]
HUB = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
OCI = re.compile(r"[\w.-]+(:\d+)?(/[a-z0-9._-]+)+(:[\w.-]+|@sha256:[0-9a-f]{64})")
# What is no part of a checkpoint, beside its weights in other formats.
NEITHER = (*OTHER_FORMATS, ".git*", "*/.git*")
# The gate and the card write these anew, after the checkpoint was brought here.
RENEWED = frozenset({REPORT, SUMS, README})
MOST_FILES = 10_000
MOST_SUMS_BYTES = 4 << 20
SPARE_BYTES = 16 << 20


def parse_origin(text: str, endpoint: str | None) -> Origin:
    """Connects to nothing. Raises UsageError."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Folder(Path(text))
    if scheme == "hf" and (match := HUB.fullmatch(rest)):
        return Hub(match[1], match[2])
    if scheme in ("oci", "oci+http") and OCI.fullmatch(rest):
        return Registry(rest, insecure=scheme == "oci+http")
    if scheme == "s3" and BUCKET.fullmatch(rest):
        return Bucket(rest.rstrip("/"), endpoint)
    raise UsageError(
        f"'{text}' is no source: hf://ORG/NAME[@REVISION], oci://HOST/NAME:TAG, s3://BUCKET/PREFIX, or a folder"
    )


def pull(source: str, target: Path, endpoint: str | None, workers: int, say: Say) -> None:
    """Raises QuantizeError."""
    origin = parse_origin(source, endpoint)
    if target.exists() and is_noted(target, source):
        say(f"{target} is there already, whole, from {source}: nothing to do")
        return
    wanted = find_wanted(origin)
    if target.exists():
        check_same(target, origin, wanted)
        note(target, source, wanted)
        say(f"{target} is there already, and is what {source} holds: nothing to do")
        return
    folder = Path(source) if isinstance(origin, Folder) else None
    with staged(folder, target, {"pull": source}) as stage, disk_errors(stage.folder):
        fetch_all(origin, wanted, stage, workers, say)
        check_whole(stage, wanted)
        clear(stage.folder, {file.name for file in wanted})
        stage.publish()
    note(target, source, wanted)
    say(describe(target, wanted))


def find_wanted(origin: Origin) -> list[SourceFile]:
    """The files of the checkpoint, with all that is known of what they must be. Raises PullFailed."""
    listed = {file.name: file for file in origin.files()}
    for name in listed:
        check_name(name, origin)
    if len(listed) > MOST_FILES:
        raise PullFailed(f"{origin.where} holds {len(listed)} files: name the folder that is the checkpoint")
    if SUMS in listed:
        wanted = described(origin, listed)
    else:
        wanted = [file for name, file in listed.items() if not any(fnmatch(name, each) for each in NEITHER)]
    names = {file.name for file in wanted}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise UnsupportedCheckpoint(f"{origin.where} holds no checkpoint: no config.json with safetensors weights")
    return sorted(wanted, key=lambda file: (-file.size, file.name))


def check_name(name: str, origin: Origin) -> None:
    """Nothing is written outside of the target, or over what is ours there. Raises PullFailed."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or not name.isprintable() or name in OURS:
        raise PullFailed(f"{origin.where} holds a file of the name {name!r}, which has no place in a checkpoint")


def described(origin: Origin, listed: dict[str, SourceFile]) -> list[SourceFile]:
    """What SHA256SUMS names, and itself. Raises PullFailed, DamagedManifest."""
    sums = listed[SUMS]
    if sums.size > MOST_SUMS_BYTES:
        raise PullFailed(f"{origin.where}: its {SUMS} is far too large")
    try:
        data = b"".join(origin.read(sums, 0))
    except SourceLost as problem:
        raise PullFailed(f"{origin.where} cannot be read: {problem}") from problem
    found = [replace(sums, sha256=sha256(data).hexdigest())]
    for name, digest in parse_sums(data, f"{SUMS} of {origin.where}").items():
        file = listed.get(name)
        if file is None:
            raise PullFailed(f"{origin.where} does not hold {name}, which its {SUMS} promises")
        if name == README and is_checked(file):  # it may be edited there, as the hub invites to
            found.append(file)
        elif file.sha256 not in (None, digest):
            raise PullFailed(f"{name} of {origin.where} is not the file that its {SUMS} describes")
        else:
            found.append(replace(file, sha256=digest))
    return found


def fetch_all(origin: Origin, wanted: list[SourceFile], stage: Stage, workers: int, say: Say) -> None:
    """Those that are not there yet, each noted down once it is durable. Raises PullFailed, DiskError."""
    done = {entry["file"]: entry for entry in stage.journal.entries if entry["file"] in stage.digests}
    rest = [file for file in wanted if done.get(file.name, {}).get("identity") != file.identity]
    parts = {file.name: part_of(stage.folder, file) for file in rest}
    begun = sum(part.stat().st_size for part in parts.values() if part.exists())
    if len(rest) < len(wanted) or begun:
        here = f"{len(wanted) - len(rest)} of {len(wanted)} files"
        say(f"going on: {here} are here, and {begun / 1e9:.2f} GB of the others")
    check_room(stage.folder, sum(file.size for file in rest) - begun + SPARE_BYTES)
    stage.worth_keeping = True
    with Tally(sum(file.size for file in rest), say) as tally, ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(fetch_one, origin, file, parts[file.name], tally): file for file in rest}
        try:
            for future in as_completed(futures):
                file, digest = futures[future], future.result()
                parts[file.name].rename(stage.folder / file.name)
                stage.add(file.name, digest, identity=file.identity)
        except BaseException:
            tally.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def fetch_one(origin: Origin, file: SourceFile, part: Path, tally: Tally) -> str:
    """Into `part`; its SHA-256. Raises PullFailed, Stopped, OSError."""
    part.parent.mkdir(parents=True, exist_ok=True)
    digest = fetch(origin, file, part, tally)
    if is_other(file, digest, part):
        part.unlink()
        raise PullFailed(f"{file.name} of {origin.where} is other than its digest says: run the same command again")
    return digest


def is_other(file: SourceFile, digest: str, path: Path) -> bool:
    """`digest`: the SHA-256 of what lies at `path`."""
    if file.sha256 is not None:
        return file.sha256 != digest
    return file.git_sha1 is not None and file.git_sha1 != git_hash(path)


def part_of(folder: Path, file: SourceFile) -> Path:
    """Where it grows; another one of the same name, of another time, grows elsewhere."""
    place = folder / file.name
    return place.with_name(f".{place.name}.{sha256(file.identity.encode()).hexdigest()[:12]}.part")


def check_whole(stage: Stage, wanted: list[SourceFile]) -> None:
    """That it is a checkpoint, by its headers: not every place tells digests. Raises UnsupportedCheckpoint."""
    try:
        read_config(stage.folder)
        read_tensors(stage.folder)
    except UnsupportedCheckpoint:
        if any(not is_checked(file) for file in wanted):  # then it may have been damaged on the way
            stage.discard()
        raise


def clear(folder: Path, names: set[str]) -> None:
    """Parts of files that have been replaced at the source since."""
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in names and name not in OURS:
            path.unlink()


def check_same(target: Path, origin: Origin, wanted: list[SourceFile]) -> None:
    """That a folder nobody has noted anything about is what would be fetched. Raises UsageError."""
    for file in wanted:
        path = target / file.name
        if file.name in RENEWED:
            continue
        if not path.is_file() or path.stat().st_size != file.size or is_other(file, hash_file(path), path):
            raise UsageError(
                f"{target} exists already, and its {file.name} is not that of {origin.where}: remove it, or choose "
                "another folder"
            )


def note_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.pulled")


def note(target: Path, source: str, wanted: list[SourceFile]) -> None:
    stats = {file.name: (target / file.name).stat() for file in wanted if file.name not in RENEWED}
    files = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    replace_file(note_of(target), json.dumps({"source": source, "files": files}) + "\n")


def is_noted(target: Path, source: str) -> bool:
    """Whether it lies there as it was put there, from the same source."""
    try:
        known = json.loads(note_of(target).read_text())
        if known["source"] != source:
            return False
        stats = {name: (target / name).stat() for name in known["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(stats) and known["files"] == {n: [stat.st_size, stat.st_mtime_ns] for n, stat in stats.items()}


def is_checked(file: SourceFile) -> bool:
    return file.sha256 is not None or file.git_sha1 is not None


def describe(target: Path, wanted: list[SourceFile]) -> str:
    blind = sum(not is_checked(file) for file in wanted)
    told = f"{target} holds {len(wanted)} files, {sum(file.size for file in wanted) / 1e9:.2f} GB"
    if not blind:
        return f"{told}, each checked by its digest"
    return f"{told}; of {blind} only sizes and headers were checked, for there is no {SUMS} at the source"
