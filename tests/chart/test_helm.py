"""Both Helms read the chart and make the same of it; what `make chart` writes is as it would write it now."""

import re
import shlex
import shutil
import tarfile
from pathlib import Path

import pytest

from helm.template import CHART, HELMS, ROOT, objects, run_helm
from helm.write import EXAMPLE_OPTIONS, EXAMPLES, copies, made, main, surplus
from tests.chart.rendering import NEWEST, cases, options, program, rendered, rendered_text

pytestmark = pytest.mark.usefixtures("helms")
JUNK = (
    ".git/HEAD",
    ".DS_Store",
    "values.yaml.orig",
    "values.yaml~",
    ".values.yaml.swp",
    "__pycache__/a.pyc",
    "a.tmp",
)


def test_they_are_the_helms_that_people_have() -> None:
    told = {helm: run_helm(program(helm), "version", "--short") for helm in HELMS}
    assert told["helm-v3"].startswith("v3.17.")
    assert told["helm-v4"].startswith("v4.3.")


@pytest.mark.parametrize("case", [None, *cases()])
@pytest.mark.parametrize("helm", HELMS)
def test_lint_has_no_complaint(helm: str, case: str | None) -> None:
    """Nor of the chart's own values alone, which are refused at an install: they name nothing to serve."""
    asked = options(case) if case else []
    assert "0 chart(s) failed" in run_helm(program(helm), "lint", "--strict", *asked, str(CHART))


@pytest.mark.parametrize("case", cases())
def test_both_helms_make_the_same_objects(case: str) -> None:
    old, new = (rendered(helm, case) for helm in HELMS)
    key = ("kind", "metadata", "name")

    def name(manifest: dict[str, object]) -> str:
        return f"{manifest[key[0]]} {manifest[key[1]][key[2]]}"  # type: ignore[index]

    assert [name(each) for each in old] == [name(each) for each in new]
    assert list(old) == list(new)


def test_the_readmes_install_line_renders_the_example() -> None:
    (line,) = re.findall(r"^helm install (fovea .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    name, chart, *told = shlex.split(line)
    assert (name, chart) == ("fovea", "helm/fovea")
    only_when_installing = {"--wait", "--create-namespace"}
    assert only_when_installing <= set(told)
    asked = [word for word in told if word not in only_when_installing]
    # Nothing is added but the Kubernetes that examples are for.
    rendered = run_helm(program(NEWEST), "template", name, chart, *asked, *EXAMPLE_OPTIONS[-2:])
    assert objects(rendered) == objects((EXAMPLES / "h100-x1.yaml").read_text())


def test_every_template_makes_something_in_some_case() -> None:
    shown = "".join(rendered_text(NEWEST, case) for case in cases())
    templates = {str(path.relative_to(CHART.parent)) for path in (CHART / "templates").rglob("*.yaml")}
    assert {name for name in templates if f"# Source: {name}" not in shown} == set()


def test_what_is_written_of_other_files_is_as_they_are() -> None:
    wanted = [*copies(), *made(program(NEWEST))]
    stale = [path for path, text in wanted if not path.exists() or path.read_text() != text]
    stale += surplus({path for path, _ in wanted})
    assert [str(path.relative_to(ROOT)) for path in stale] == [], "make chart writes them anew"


@pytest.mark.parametrize("helm", HELMS)
def test_a_package_holds_every_file_and_no_junk(helm: str, tmp_path: Path) -> None:
    source = tmp_path / "fovea"
    shutil.copytree(CHART, source)
    for name in JUNK:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("junk")
    run_helm(program(helm), "package", str(source), "--destination", str(tmp_path / "out"))
    (package,) = (tmp_path / "out").glob("fovea-*.tgz")
    with tarfile.open(package) as archive:
        held = set(archive.getnames())
    files = {f"fovea/{path.relative_to(CHART)}" for path in CHART.rglob("*") if path.is_file()}
    assert held == files


def test_make_chart_writes_nothing_where_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(), capsys.readouterr().out) == (0, "")
