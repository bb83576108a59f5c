"""README's performance section and the index of benchmarks hold what the figures say."""

import json
import shutil
from pathlib import Path

import pytest

from loadtest.claims import DOCS, stale, with_section, write
from loadtest.suite.claimed import of_soak, times
from loadtest.suite.index import BEGIN, END, judged, make_index

ROOT = Path(__file__).parents[4]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / DOCS, tmp_path / DOCS)
    shutil.copy(ROOT / "README.md", tmp_path)
    write(tmp_path)
    return tmp_path


def test_every_claim_in_readme_and_index_is_what_the_figures_say() -> None:
    assert not stale(ROOT), "run python -m loadtest.claims"


def test_a_number_that_was_changed_is_found(root: Path) -> None:
    readme = root / "README.md"
    assert stale(root) == []
    readme.write_text(readme.read_text().replace("x its memory", "x of its memory", 1))
    assert stale(root) == [readme]


def test_figures_that_changed_are_found(root: Path) -> None:
    raw = root / DOCS / "quantize.json"
    told = json.loads(raw.read_text())
    for cost in told["costs"]:
        cost["peak_mb"] *= 2 if cost["writer"] == "oneshot" else 1
    raw.write_text(json.dumps(told))
    assert set(stale(root)) == {root / "README.md", root / DOCS / "README.md"}


def test_a_benchmark_without_figures_is_pending(root: Path) -> None:
    (root / DOCS / "quantize.json").unlink()
    row = next(line for line in make_index(root / DOCS).splitlines() if line.startswith("| quantize"))
    assert "| pending |" in row


def test_a_gpu_that_nobody_had_is_said() -> None:
    pending = "pending" in (ROOT / DOCS / "gpu.md").read_text()
    assert ("SKIPPED: no GPU" in make_index(ROOT / DOCS)) == pending


def test_what_was_missed_is_taken_from_the_page() -> None:
    page = "| asked | | |\n| - | - | - |\n| a: under 2 | 3 | missed |\n| b | 1 | met |\ntext | missed |"
    assert judged(page) == {"missed": ["a: under 2 (3)"], "met": ["b (1)"]}


def test_a_readme_without_marks_is_refused() -> None:
    assert with_section(f"a\n{BEGIN}\nold\n{END}\nb", f"{BEGIN}\nnew\n{END}") == f"a\n{BEGIN}\nnew\n{END}\nb"
    with pytest.raises(ValueError, match="once each"):
        with_section("a", "b")


def test_a_ratio_has_two_digits_that_count() -> None:
    assert [times(each) for each in (0.00992, 1.4142, 9.0, 218.7)] == ["0.0099", "1.4", "9", "220"]


def test_a_soak_is_told_by_the_memory_of_what_serves() -> None:
    samples = [
        {"at_s": at, "rss_mb": 100.0, "private_mb": 90.0, "files": 9, "sockets": 1, "threads": 2}
        for at in range(0, 1800, 10)
    ]
    watched = [{"name": name, "judged": name == "gateway", "samples": samples} for name in ("gateway", "driver")]
    claims = list(of_soak(json.dumps({"lasted_s": 1800.0, "watched": watched})))
    assert claims == ["memory after 0.5 h at 80 % load, beside after the warm-up: gateway 1.000 x"]
