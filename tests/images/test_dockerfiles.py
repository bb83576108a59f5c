"""What the Dockerfiles say, read and linted; nothing is built."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.images import build
from deploy.images.build import IMAGES, ROOT

FOLDER = ROOT / "docker"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))


def test_every_image_has_a_dockerfile_and_every_dockerfile_an_image() -> None:
    assert {path.name for path in DOCKERFILES} == set(IMAGES.values())


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([str(hadolint), str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_base_is_pinned_by_digest_and_names_no_registry(path: Path) -> None:
    text = path.read_text()
    arguments = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, re.MULTILINE))
    assert arguments
    for reference in arguments.values():
        assert re.fullmatch(r"[a-z0-9/_-]+:[\w.-]+@sha256:[0-9a-f]{64}", reference), reference
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    for source in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert source == "scratch" or source in stages or source.strip("${}") in arguments, source


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_run_as_a_user_without_rights_and_say_how_they_are(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert "STOPSIGNAL SIGTERM" in text
    for instruction in ("ENTRYPOINT", "CMD"):
        assert re.search(rf"^{instruction} \[", text, re.MULTILINE), "in exec form: no shell is run"
    for label in ("title", "version", "revision", "licenses", "description"):
        assert f"org.opencontainers.image.{label}=" in text


def test_images_have_the_uv_that_environments_are_made_with() -> None:
    uv = re.search(r'^UV = "uv==(\S+)"$', (ROOT / "deploy/environments/set_up.py").read_text(), re.MULTILINE)
    assert uv
    for path in DOCKERFILES:
        assert f"ARG UV_VERSION={uv[1]}\n" in path.read_text()


def test_indexes_and_certificates_reach_the_build_as_secrets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "index-url": ["https://user:word@index.example/simple"],
        "extra-index-url": ["file:///some/folder", "https://more.example/simple"],
        "cert": ["/some/cert.pem"],
    }
    monkeypatch.setattr(build, "pip_settings", lambda _: told)
    with build.secrets() as options:
        assert options[::2] == ["--secret"] * 3
        files = dict(re.findall(r"id=(\w+),src=(\S+)", " ".join(options[1::2])))
        assert files["ca"] == "/some/cert.pem"
        for name in ("pip", "uv"):
            text = Path(files[name]).read_text()
            assert "https://user:word@index.example/simple" in text
            assert "https://more.example/simple" in text
            assert "/some/folder" not in text, "which the build does not see"
    assert not Path(files["pip"]).exists()
    for path in DOCKERFILES:
        for argument in re.findall(r"^ARG (\w+)", path.read_text(), re.MULTILINE):
            assert "INDEX" not in argument, "arguments stay in an image's history"
            assert "PASS" not in argument
