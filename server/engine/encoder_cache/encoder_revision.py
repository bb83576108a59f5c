"""Which code makes the embeddings: a digest of the sources of a model's class, beside vLLM's version, for those who
change them where they are installed. Sources are read, not imported."""

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from blake3 import blake3

from server.engine.encoder_cache.checkpoint import NoFingerprint

MODELS = "vllm.model_executor.models"
IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+([\w, \t]*)|import[ \t]+([.\w]+))", re.M)
# Of a class that loads weights of other repositories, too (kimi_audio.py, ultravox.py).
MORE_WEIGHTS = b"self.secondary_weights"
# What prepares pictures, besides vLLM.
PREPARING = ("transformers", "torchvision", "pillow")


def digest_sources(vllm: Path, module: str) -> str:
    """Of a model's module, those of other models that it imports, in turn, and what these import of vLLM's else.

    `vllm`: the package's folder. Raises NoFingerprint.
    """
    wanted, seen = [module], set()
    digests: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        path = source_of(vllm, name)
        if name in seen or path is None:
            continue
        seen.add(name)
        try:
            text = path.read_bytes()
        except OSError as problem:
            raise NoFingerprint(f"{path} cannot be read ({problem.strerror})") from problem
        if name == module and MORE_WEIGHTS in text:
            raise NoFingerprint(f"{module} loads weights that are not in the checkpoint")
        digests[str(path.relative_to(vllm))] = blake3(text).hexdigest()
        if name == module or name.startswith(MODELS):
            wanted += imports_of(text, name, is_package=path.name == "__init__.py")
    if module not in seen:
        raise NoFingerprint(f"the sources of {module} are not those of a module of vLLM's")
    return blake3(repr(sorted(digests.items())).encode()).hexdigest()


def source_of(vllm: Path, module: str) -> Path | None:
    """None: no module of vLLM's."""
    first, *rest = module.split(".")
    if first != vllm.name:
        return None
    stem = vllm.joinpath(*rest)
    file, package = stem.with_suffix(".py"), stem / "__init__.py"
    return file if rest and file.is_file() else package if package.is_file() else None


def imports_of(text: bytes, module: str, is_package: bool) -> list[str]:
    """By their absolute names; of `from a import b`, both a and a.b, which may be none."""
    found = []
    for match in IMPORT.finditer(text):
        source, names, plain = (part.decode() if part else "" for part in match.groups())
        target = absolute(source or plain, module, is_package)
        found += [target, *(f"{target}.{name.split()[0]}" for name in names.split(",") if name.strip())]
    return found


def absolute(name: str, module: str, is_package: bool) -> str:
    dots = len(name) - len(name.lstrip("."))
    if not dots:
        return name
    around = module.split(".")
    around = around[: len(around) - dots + (1 if is_package else 0)]
    return ".".join([*around, *filter(None, [name[dots:]])])


def versions(found: Mapping[str, str] | None = None) -> str:
    """Of what prepares pictures and makes embeddings of them."""
    if found is None:
        found = {each: _version(each) for each in PREPARING}
    return " ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
