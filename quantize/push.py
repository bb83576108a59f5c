"""A finished checkpoint, taken elsewhere: a folder, the hub, an OCI registry, a bucket. What arrives is checked.

Only what SHA256SUMS describes leaves, and only if it still does.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from quantize.checkpoint import weight_files
from quantize.durable import copy_file, disk_errors, git_hash, hash_file, sync_folder
from quantize.errors import PlanViolated, PushFailed, UsageError
from quantize.manifest import SUMS, read_sums
from quantize.optional import library
from quantize.origins.bucket import BUCKET, open_bucket
from quantize.origins.origin import told
from quantize.verify import verify_sums

Say = Callable[[str], None]
ARTIFACT = "application/vnd.fovea.checkpoint.v1"
TITLE = "org.opencontainers.image.title"
ANSWER_S = 10
DIGEST = "sha256"  # among an object's own metadata in a bucket


@dataclass(frozen=True, slots=True)
class Destination:
    """`where`: a path; NAMESPACE/NAME on the hub; HOST/NAME:TAG in a registry (`insecure`: over http); in S3
    BUCKET/PREFIX (`endpoint`: not AWS's)."""

    kind: Literal["folder", "hub", "oci", "bucket"]
    where: str
    insecure: bool = False
    endpoint: str | None = None


def parse_destination(text: str, endpoint: str | None = None) -> Destination:
    """`hf://ORG/NAME`, `oci://HOST/NAME:TAG` (`oci+http://` without TLS), `s3://BUCKET/PREFIX`, or a folder.

    Raises UsageError.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Destination("folder", text)
    if scheme == "hf" and re.fullmatch(r"[\w.-]+/[\w.-]+", rest):
        return Destination("hub", rest)
    if scheme in ("oci", "oci+http") and re.fullmatch(r"[\w.-]+(:\d+)?(/[a-z0-9._-]+)+:[\w.-]+", rest):
        return Destination("oci", rest, insecure=scheme == "oci+http")
    if scheme == "s3" and BUCKET.fullmatch(rest):
        return Destination("bucket", rest.rstrip("/"), endpoint=endpoint)
    raise UsageError(
        f"'{text}' is no destination: a folder, hf://ORG/NAME, oci://HOST/NAME:TAG, or s3://BUCKET/PREFIX"
    )


def push(folder: Path, destination: Destination, say: Say) -> int:
    """Take every file there; how many. Raises QuantizeError."""
    if not weight_files(folder):
        raise UsageError(f"{folder} is not a finished checkpoint: make one with fovea-quantize run")
    wrong = list(verify_sums(folder))
    if wrong:
        raise PlanViolated(
            f"{folder} is not what its {SUMS} describes, so nothing was sent:\n  " + "\n  ".join(wrong)
        )
    digests = {**read_sums(folder), SUMS: hash_file(folder / SUMS)}
    ways = {"folder": to_folder, "hub": to_hub, "oci": to_registry, "bucket": to_bucket}
    ways[destination.kind](folder, digests, destination)
    say(f"{len(digests)} files are in {destination.where}, checked by SHA-256")
    return len(digests)


def to_folder(folder: Path, digests: dict[str, str], destination: Destination) -> None:
    """Whole or not at all; hashed again where they lie then."""
    target = Path(destination.where)
    if target.exists():
        raise UsageError(f"{target} exists already: remove it or choose another folder")
    stage = target.with_name(f".{target.name}.push")  # not `run`'s, which may be under way
    shutil.rmtree(stage, ignore_errors=True)
    with disk_errors(target):
        stage.mkdir(parents=True)
        for name in _shown(folder, digests):
            copy_file(folder / name, stage / name)
        compare({name: hash_file(stage / name) for name in digests}, digests, str(target))
        stage.rename(target)
        sync_folder(target.parent)


def to_registry(folder: Path, digests: dict[str, str], destination: Destination) -> None:
    """One layer a file, by its own hash, so that what is there already is not sent again."""
    oras = library("oras.client")
    layers = {
        name: {
            "mediaType": "application/octet-stream",
            "digest": f"sha256:{digest}",
            "size": (folder / name).stat().st_size,
            "annotations": {TITLE: name},
        }
        for name, digest in sorted(digests.items())
    }
    host = destination.where.partition("/")[0]
    with foreign_errors(destination.where), tempfile.TemporaryDirectory() as scratch:
        client = oras.OrasClient(hostname=host, insecure=destination.insecure)
        # Whoever is not there is found out now: the library would ask again and again, for minutes.
        client.session.get(f"{client.prefix}://{host}/v2/", timeout=ANSWER_S)
        container = client.get_container(destination.where)
        client.auth.load_configs(container)
        config = Path(scratch) / "config.json"
        config.write_text("{}")
        about = {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": f"sha256:{hash_file(config)}",
            "size": 2,
        }
        client._check_200_response(client.upload_blob(str(config), container, about))
        for name in _shown(folder, digests):
            client._check_200_response(client.upload_blob(str(folder / name), container, layers[name]))
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": ARTIFACT,
            "config": about,
            "layers": list(layers.values()),
        }
        client._check_200_response(client.upload_manifest(manifest, container))
        there = client.get_manifest(container)["layers"]
        held = {
            layer["annotations"][TITLE]: layer["digest"] for layer in there if client.blob_exists(layer, container)
        }
    compare({name: digest.removeprefix("sha256:") for name, digest in held.items()}, digests, destination.where)


def to_hub(folder: Path, digests: dict[str, str], destination: Destination) -> None:
    """By the hub's own library, with the token that it is logged in with; compared with what the hub then lists."""
    hub = library("huggingface_hub")
    with foreign_errors(destination.where):
        api = hub.HfApi()
        api.create_repo(destination.where, exist_ok=True)
        names = sorted(digests)
        api.upload_folder(repo_id=destination.where, folder_path=folder, allow_patterns=names)
        listed = {entry.path: entry for entry in api.list_repo_tree(destination.where, recursive=True)}
    there = {}
    for name in names:
        entry = listed.get(name)
        if entry is None:
            continue
        lfs = getattr(entry, "lfs", None)
        same = lfs.sha256 if lfs else digests[name] if entry.blob_id == git_hash(folder / name) else "another"
        there[name] = same
    compare(there, digests, destination.where)


def to_bucket(folder: Path, digests: dict[str, str], destination: Destination) -> None:
    """Each request is signed with its body's SHA-256, which the store checks, and each object bears the file's.

    SHA256SUMS is away while others are written, and comes last: who finds it finds what it describes.
    """
    obstore, errors = library("obstore"), library("obstore.exceptions")
    store = open_bucket(destination.where, destination.endpoint)
    sizes = {name: (folder / name).stat().st_size for name in digests}

    def held() -> dict[str, str]:
        listed = {each["path"]: each["size"] for batch in obstore.list(store) for each in batch}
        same = [name for name, size in sizes.items() if listed.get(name) == size]
        found = {name: obstore.get(store, name, options={"head": True}).attributes for name in same}
        return {name: str(attributes.get(DIGEST)) for name, attributes in found.items()}

    with foreign_errors(f"s3://{destination.where}", errors.BaseError):
        there = held()
        rest = {name: digest for name, digest in digests.items() if there.get(name) != digest}
        if rest:
            obstore.delete(store, SUMS)
        for name in _shown(folder, {name: digest for name, digest in rest.items() if name != SUMS}):
            obstore.put(store, name, folder / name, attributes={DIGEST: digests[name]}, max_concurrency=4)
        if rest:
            obstore.put(store, SUMS, folder / SUMS, attributes={DIGEST: digests[SUMS]})
        there = held()
    compare(there, digests, destination.where)


def compare(there: dict[str, str], digests: dict[str, str], where: str) -> None:
    """Raises PushFailed, naming what is missing or other."""
    wrong = sorted(name for name, digest in digests.items() if there.get(name) != digest)
    if wrong:
        raise PushFailed(f"{where} does not hold what was sent: {', '.join(wrong[:5])}: run the same command again")


@contextmanager
def foreign_errors(where: str, other: type[Exception] = OSError) -> Iterator[None]:
    """The only place where the libraries' errors become ours: requests' and the hub's are OSErrors."""
    try:
        yield
    except (OSError, ValueError, KeyError, other) as problem:
        raise PushFailed(f"{where} cannot be written: {type(problem).__name__}: {told(problem)}") from problem


def _shown(folder: Path, digests: dict[str, str]) -> Iterator[str]:
    """Names in order, with a bar of their bytes."""
    sizes = {name: (folder / name).stat().st_size for name in sorted(digests)}
    with tqdm(total=sum(sizes.values()), unit="B", unit_scale=True, mininterval=0.5) as bar:
        for name, size in sizes.items():
            yield name
            bar.update(size)
