"""`make chart`: writes what of the chart is made of something else: README, schema texts, examples, copies.

A chart can hold nothing that lies outside its folder, so what it shows of deploy/ is copied.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from helm.readme import make_readme
from helm.schema import make_schema
from helm.template import CHART, HELMS, PRESETS, ROOT, HelmError, find_helm, preset_names, render

EXAMPLES = ROOT / "helm" / "examples"
# What is shown must not change with Helm's release: the newest Kubernetes that all supported Helms know as theirs.
EXAMPLE_OPTIONS = ("--set", "image.registry=registry.example.com/fovea", "--kube-version", "1.33.0")
HEAD = "# Rendered by `make chart` out of helm/fovea/presets/{name}.yaml: to be read, not to be applied.\n"
# What is copied, from where, to which folder of the chart.
COPIES = (
    ("deploy/grafana/json/*.json", "files/dashboards"),
    ("deploy/prometheus/rules/*.yml", "files/rules"),
)


def main() -> int:
    helm = find_helm(HELMS[-1])
    if helm is None:
        print("make chart: no Helm: make setup, or put helm on the PATH", file=sys.stderr)
        return 1
    for path, text in copies():
        write(path, text)
    try:
        wanted = dict(made(helm))
    except (ValueError, HelmError) as problem:
        print(f"make chart: {problem}", file=sys.stderr)
        return 1
    for path, text in wanted.items():
        write(path, text)
    for path in surplus({*wanted, *dict(copies())}):
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    return 0


def made(helm: Path) -> Iterator[tuple[Path, str]]:
    """Files with what should be in them; `copies` have to be in place before."""
    yield CHART / "values.schema.json", make_schema(CHART)
    yield CHART / "README.md", make_readme(CHART)
    for name in preset_names():
        yield EXAMPLES / f"{name}.yaml", example(helm, name)


def copies() -> Iterator[tuple[Path, str]]:
    for pattern, folder in COPIES:
        for source in sorted(ROOT.glob(pattern)):
            yield CHART / folder / source.name, source.read_text()


def example(helm: Path, name: str) -> str:
    return HEAD.format(name=name) + render(helm, "--values", str(PRESETS / f"{name}.yaml"), *EXAMPLE_OPTIONS)


def surplus(wanted: set[Path]) -> list[Path]:
    """Files in folders that only `make chart` writes to, of something that is no more."""
    folders = [EXAMPLES, *(CHART / folder for _, folder in COPIES)]
    return [path for folder in folders for path in sorted(folder.glob("*")) if path not in wanted]


def write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
