from pathlib import Path

from loadtest.bench_quantize import ONESHOT
from quantize.architecture import find_architecture
from quantize.checkpoint import read_config
from quantize.llm_compressor import make_job
from quantize.plan import make_plan
from quantize.recipe import read_recipe
from tests.unit.quantize.checkpoints import toy, write_checkpoint


def test_the_bench_asks_oneshot_for_what_the_recipe_does(tmp_path: Path) -> None:
    """It may not import what makes the job, so that it writes its own."""
    folder = write_checkpoint(tmp_path / "m", toy())
    job = make_job(make_plan(folder, read_recipe("fp8-dynamic"), find_architecture(read_config(folder))), None)
    assert ONESHOT.keys() == job.keys()
    for part, numbers in ONESHOT["group"].items():
        assert numbers.items() <= job["group"][part].items()
    for same in ("method", "smoothing", "targets", "rescaled", "samples"):
        assert ONESHOT[same] == job[same]
