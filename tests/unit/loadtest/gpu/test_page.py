from pathlib import Path
from typing import Any

from loadtest.gpu.__main__ import write_page
from loadtest.gpu.notes import Notes
from loadtest.gpu.page import SECTIONS, make_page, read_results
from loadtest.gpu.steps import STEPS

ROOT = Path(__file__).parents[4]
DOCS = ROOT / "docs" / "benchmarks"
GPU = {
    "gpu": "NVIDIA H200", "gpu_bytes": 139 * 2**30, "driver": "580.1", "cuda": "13.0", "cpus": 16,
    "processor": "x86_64", "python": "3.12.3", "versions": {"torch": "2.11.0"},
}  # fmt: skip
BATCH = {"sequences": 2, "prompt": 100, "answer": 11}
RECORDS: dict[str, dict[str, dict[str, Any]]] = {
    "ceilings": {
        "copy": {"nbytes": 8_000_000_000, "ms": [2.0, 2.0]},
        "product": {"side": 1000, "ms": {"bf16": [0.004], "fp8": [0.002]}},
    },
    "weights": {
        "bf16": {"stored": 20_000_000_000, "load_s": 5.0, "allocated": 2e10, "peak": 2e10, "device": 2.1e10},
        "fp8-dynamic": {"stored": 14_000_000_000, "load_s": 4.0},
    },
    "forward": {
        "decode 1": {
            "stage": "decode", "tokens": 1, "nbytes": {"bf16": 16_000_000_000, "fp8-dynamic": 10_000_000_000},
            "ms": {"fp8-dynamic": [2.0, 4.0, 2.0], "bf16": [4.0, 4.0, 6.0]},
        }
    },
    "by_shape": {
        "o_proj 8": {
            "kind": "o_proj", "rows": 4096, "columns": 4096, "times": 8, "tokens": 8, "error": 0.001,
            "ms": {"bf16": [0.010], "fp8": [0.008], "fp8 product": [0.005]},
        }
    },
    "vision": {
        "448": {
            "side": 448, "patches": 784, "tokens": 196, "nbytes": 1_605_632, "peak": 12_000_000,
            "ms": {"encode": [10.0], "pinned": [0.05], "pageable": [0.5]},
        }
    },
    "served": {
        "bf16": {"vllm": "0.24.0", "batches": [{**BATCH, "first_s": [1.0], "all_s": [3.0]}]},
        "fp8-dynamic": {"vllm": "0.24.0", "batches": [{**BATCH, "first_s": [0.5], "all_s": [1.5]}]},
    },
    "checkpoint": {
        "bf16": {"nbytes": 20_000_000_000, "wall_s": 20.0},
        "fp8-dynamic": {"nbytes": 14_000_000_000, "wall_s": 30.0, "cpu_s": 60.0, "peak_bytes": 65_000_000},
    },
}  # fmt: skip


def note(folder: Path, machine: dict[str, Any]) -> Path:
    for name, records in RECORDS.items():
        notes = Notes(folder / f"{name}.json", machine)
        for key, record in records.items():
            notes.add(key, record)
        notes.end(1.0)
    return folder


def test_the_committed_page_is_made_of_the_committed_figures() -> None:
    assert (DOCS / "gpu.md").read_text() == make_page(read_results(DOCS / "gpu"))


def test_without_figures_the_page_says_that_every_table_is_pending() -> None:
    page = make_page({})
    assert "tables are pending" in page
    assert page.count("*Pending.*") == len(SECTIONS)
    assert "|" not in page


def test_every_step_has_a_section() -> None:
    assert sorted(SECTIONS) == sorted(STEPS)


def test_figures_become_rates_and_ratios_within_a_round(tmp_path: Path) -> None:
    page = " ".join(make_page(read_results(note(tmp_path, GPU))).split())
    assert "pending" not in page.lower()
    assert "NVIDIA H200 (139 GiB), driver 580.1, CUDA 13.0" in page
    assert "| copy | 4,000 GB/s |" in page
    assert "| 1000x1000x1000 in BF16 | 500 TFLOP/s |" in page
    assert "| `bf16` | 20.00 | 20.00 | 20.00 | 21.00 | 100% | 5.0 |" in page
    assert "| `fp8-dynamic` | 14.00 | | | | 70% | 4.0 |" in page
    assert "| decode | 1 | 4.00 | 2.00 | 2.00x (1.00-3.00) |" in page
    assert "One pass reads 16.00 GB of `bf16`, 10.00 GB of `fp8-dynamic`." in page
    assert "| `o_proj` | 4,096 x 4,096 | 8 | 8 | 10.0 | 8.0 | 5.0 | 1.25x (1.25-1.25) |" in page
    assert "| 448x448 | 196 | 1.61 | 10.00 | 0.050 | 0.500 | 200.00x (200.00-200.00) | 12 |" in page
    assert "| `bf16` | 2 | 100 | 11 | 200 | 10 | | |" in page
    assert "| `fp8-dynamic` | 2 | 100 | 11 | 400 | 20 | 2.00x | 2.00x | vLLM 0.24.0." in page
    assert "| `fp8-dynamic` | 14.00 | 30 | 60 | 65 |" in page


def test_kernel_level_figures_are_called_so(tmp_path: Path) -> None:
    page = make_page(read_results(note(tmp_path, GPU)))
    for title in ("Every product of the model in a row", "Product by product"):
        section = page.split(f"## {title}")[1].split("##")[0]
        assert "kernel-level" in section.lower()


def test_a_dry_runs_figures_are_said_to_mean_nothing(tmp_path: Path) -> None:
    machine = {name: value for name, value in GPU.items() if not name.startswith("gpu")}
    assert "These figures mean nothing" in " ".join(make_page(read_results(note(tmp_path, machine))).split())


def test_what_failed_is_on_the_page(tmp_path: Path) -> None:
    Notes(tmp_path / "weights.json", GPU).fail("CUDA out of memory")
    page = make_page(read_results(tmp_path))
    assert "Not all of it was measured: CUDA out of memory" in " ".join(page.split())


def test_the_page_takes_its_raw_figures_along(tmp_path: Path) -> None:
    out, docs = note(tmp_path / "out", GPU), tmp_path / "docs"
    assert write_page(out, docs) == 0
    assert (docs / "gpu.md").read_text() == make_page(read_results(docs / "gpu"))
    assert sorted(path.stem for path in (docs / "gpu").iterdir()) == sorted(STEPS)
