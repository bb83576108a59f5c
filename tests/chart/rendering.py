"""The chart rendered, each case once by each Helm, for all tests of the session."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from helm.template import HELMS, PRESETS, HelmError, Manifest, find_helm, objects, preset_names, render

OWN = Path(__file__).parent / "values"
NEWEST = HELMS[-1]
# Who else's kinds a cluster would have to know for what a case asks for.
API_VERSIONS = (
    "monitoring.coreos.com/v1",
    "gateway.networking.k8s.io/v1",
    "gateway.envoyproxy.io/v1alpha1",
    "inference.networking.k8s.io/v1",
    "keda.sh/v1alpha1",
    "leaderworkerset.x-k8s.io/v1",
)
NO_HELM = "SKIPPED: no Helm: make setup, or put helm on the PATH"


def cases() -> dict[str, list[Path]]:
    """By name, the files of values: each preset of the chart, and what tests ask for besides."""
    presets = {name: [PRESETS / f"{name}.yaml"] for name in preset_names()}
    return {**presets, **{f"own-{path.stem}": [path] for path in sorted(OWN.glob("*.yaml"))}}


def options(case: str) -> list[str]:
    """Of `helm template` and `helm lint`."""
    return [option for path in cases()[case] for option in ("--values", str(path))]


def program(helm: str) -> Path:
    """For tests that use the fixture `helms`."""
    found = find_helm(helm)
    assert found is not None, NO_HELM
    return found


@cache
def rendered_text(helm: str, case: str) -> str:
    known = [option for version in API_VERSIONS for option in ("--api-versions", version)]
    return render(program(helm), *options(case), *known)


@cache
def rendered(helm: str, case: str) -> tuple[Manifest, ...]:
    return tuple(objects(rendered_text(helm, case)))


LONG_RELEASE = ("a" * 44 + "-release9", "--namespace", "n" * 63)
DIGEST = "sha256:" + "0123456789abcdef" * 4


@cache
def rendered_with_long_names(case: str) -> tuple[Manifest, ...]:
    """Of a release whose name is as long as Helm lets it be, all images by digest out of a registry."""
    set_ = [f"{part}.image.digest={DIGEST}" for part in ("gateway", "engine", "quantize")]
    set_.append("image.registry=registry.example.com/fovea")
    return tuple(objects(render(program(NEWEST), *options(case), "--set", ",".join(set_), release=LONG_RELEASE)))


def refusal(helm: str, values: Path | None, *more: str) -> str:
    """What Helm says where it must refuse."""
    try:
        render(program(helm), *(["--values", str(values)] if values else []), *more)
    except HelmError as error:
        return str(error)
    raise AssertionError("Helm rendered what it should have refused")


def pod_specs(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Every pod that comes of an object, wherever in it: what holds containers is the spec of a pod."""
    yield from found_in(manifest, manifest["metadata"]["name"])


def found_in(value: Any, place: str) -> Iterator[tuple[str, Manifest]]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from found_in(each, f"{place}.{index}")
    elif isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield place, value
        for name, each in value.items():
            yield from found_in(each, f"{place}.{name}")
