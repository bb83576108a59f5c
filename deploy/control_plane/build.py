"""The control plane of Kubernetes that the chart is tested on, built from Debian's source: `python3 -m
deploy.control_plane.build`, or with `--behind`, in the background while other things are done.

Into .venv/control-plane go kube-apiserver, kube-controller-manager and kube-scheduler, one file under three names,
and etcd. It takes three and a half minutes of a CPU and, until it is done, 1.6 GB of disk. Kubernetes 1.20 is what
Debian 12 has.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from deploy.control_plane.debian import Debian, UnavailableError, run
from deploy.control_plane.definitions import definitions
from deploy.control_plane.place import HERE, Place

ROOT = HERE.parent.parent
GO, ETCD = ("golang-1.19-go", "golang-1.19-src"), "etcd-server"
# The one that Kubernetes 1.20 brings along corrupts memory where a Go newer than 1.17 has compiled it.
REFLECT2, REFLECT2_IS = "golang-github-modern-go-reflect2-dev", Path("github.com/modern-go/reflect2")
SOURCE = "kubernetes_1.20.5+really1.20.2.orig.tar.gz"
SHA256 = "b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc"
VERSION = {"gitVersion": "v1.20.2", "gitMajor": "1", "gitMinor": "20"}
FREE_GB = 2.5
NICENESS = 15
# The source without what no program of ours is made of.
INSIDE = "kubernetes-1.20.2"
LEFT_OUT = ("test", "cluster", "CHANGELOG", "LICENSES", "docs", "translations", "logo")
EMBEDDED = Path("pkg/generated/openapi")
COMPILED_AS = "k8s.io/kubernetes"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--behind", action="store_true", help="go on in the background, and say where the log is")
    place = Place()
    behind = parser.parse_args().behind
    if place.is_built():
        print("set-up: control-plane: up to date")
        return 0
    if behind:
        start_behind(place)
        return 0
    try:
        with place.building():
            return 0 if place.is_built() else build_or_say(place)
    except KeyboardInterrupt:
        return 130


def start_behind(place: Place) -> None:
    """In a session of its own, which neither Ctrl-C nor the terminal's end stops. Linux shares CPUs among sessions
    before it looks at niceness inside of one: the session has one, too."""
    place.folder.mkdir(parents=True, exist_ok=True)
    if place.is_building():
        print("set-up: control-plane: is being built already", flush=True)
        return
    command = [sys.executable, "-m", "deploy.control_plane.build"]
    with place.log.open("w") as log:
        builder = subprocess.Popen(
            ["nice", "-n", str(NICENESS), *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with suppress(OSError):
        Path(f"/proc/{builder.pid}/autogroup").write_text(str(NICENESS))
    where = place.log.relative_to(ROOT)
    print(f"set-up: control-plane (tests of the chart): is built in the background, see {where}", flush=True)


def build_or_say(place: Place) -> int:
    began = time.monotonic()
    for left in place.folder.glob("building-*"):  # by a build that was killed
        shutil.rmtree(left)
    try:
        with tempfile.TemporaryDirectory(prefix="building-", dir=place.folder) as folder:
            build(place, Path(folder))
    except UnavailableError as problem:
        place.fail("unavailable", str(problem))
        print(f"set-up: SKIPPED: control-plane (tests of the chart): {problem}", flush=True)
        return 0
    except (subprocess.CalledProcessError, OSError) as problem:
        place.fail("failed", str(problem)[:500])
        print(f"set-up: control-plane: {problem}", file=sys.stderr, flush=True)
        return 1
    print(f"set-up: control-plane: built in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def build(place: Place, folder: Path) -> None:
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < FREE_GB:
        raise UnavailableError(
            f"{place.folder} has {free_gb:.1f} GB free, {FREE_GB} are needed: free some disk space"
        )
    debian = Debian(folder / "apt")
    debian.unpack([*GO, ETCD, REFLECT2], folder / "programs")
    tree = folder / "go" / "src" / COMPILED_AS
    tree.mkdir(parents=True)
    tarball = debian.source("kubernetes", SOURCE, SHA256)
    without = [f"--exclude={INSIDE}/{name}" for name in LEFT_OUT]
    run(["tar", "--extract", "--file", str(tarball), "--strip-components=1", "--anchored", *without], tree)
    shutil.rmtree(tree / "vendor" / REFLECT2_IS)
    shutil.copytree(
        folder / "programs" / "usr" / "share" / "gocode" / "src" / REFLECT2_IS, tree / "vendor" / REFLECT2_IS
    )
    add_ours(tree)
    run(go_build(folder / "kubernetes"), tree, go_environment(folder))
    place.take(folder / "kubernetes", folder / "programs" / "usr" / "bin" / "etcd")


def add_ours(tree: Path) -> None:
    (tree / "cmd" / "control-plane").mkdir()
    shutil.copy(HERE / "main.go", tree / "cmd" / "control-plane")
    shutil.copy(HERE / "definitions.go", tree / EMBEDDED)
    swagger = json.loads((tree / "api" / "openapi-spec" / "swagger.json").read_text())
    (tree / EMBEDDED / "definitions.json").write_text(json.dumps(definitions(swagger)))


def go_build(out: Path) -> list[str]:
    """Without clouds, Docker and what debuggers want; compiled in a hurry, which takes 190 s of a CPU instead of
    310 and is not felt where nothing but tests runs. Names of packages are printed as they are compiled."""
    vendored = f"{COMPILED_AS}/vendor"
    places = ("component-base/version", "client-go/pkg/version")
    known = [f"-X {vendored}/k8s.io/{place}.{name}={value}" for place in places for name, value in VERSION.items()]
    fast = "-N -l -dwarf=false -c=1"
    flags = [f"-gcflags={COMPILED_AS}/...={fast}", f"-gcflags={vendored}/...={fast}"]
    flags += ["-ldflags", " ".join(("-s", "-w", *known)), "-tags", "providerless,dockerless", "-v"]
    return ["go", "build", *flags, "-o", str(out), "./cmd/control-plane"]


def go_environment(folder: Path) -> dict[str, str]:
    """As upstream's Makefile: its own packages under GOPATH. The compiler, which lives a thousand short lives,
    would spend a fifth of them on collecting garbage."""
    root = folder / "programs" / "usr" / "lib" / "go-1.19"
    return {
        "PATH": f"{root / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GOROOT": str(root),
        "GOPATH": str(folder / "go"),
        "GOCACHE": str(folder / "cache"),
        "GO111MODULE": "off",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GOGC": "off",
        "GOMEMLIMIT": "500MiB",
    }


if __name__ == "__main__":
    sys.exit(main())
