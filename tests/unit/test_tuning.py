import subprocess
import sys

from server.tuning import COLLECT_AFTER, MALLOC

SCRIPT = """
import ctypes, gc, resource
from server.tuning import tune_process
import server.app

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def grow_and_shrink(times):
    for _ in range(times):
        bodies = [bytearray(5_000_000) for _ in range(8)]
        for body in bodies:
            body[::4096] = bytes(len(body[::4096]))
        del body, bodies

{call}
grow_and_shrink(2)
before = faults()
grow_and_shrink(10)
print(faults() - before, gc.get_freeze_count(), gc.get_threshold())
"""


def run(call: str) -> list[str]:
    script = SCRIPT.format(call=call)
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split(
        maxsplit=2
    )


def test_memory_that_bodies_used_serves_the_next_ones_without_the_kernel() -> None:
    faults, frozen, thresholds = run("tune_process()")
    assert int(faults) < 1000  # 8 bodies of 5 MB are 9,800 pages, ten times over
    assert int(frozen) > 10_000
    assert thresholds.strip() == str(COLLECT_AFTER)


def test_without_it_every_body_is_asked_of_the_kernel_anew() -> None:
    """Should glibc's own habits change, what is set here has no use any more."""
    assert int(run("pass")[0]) > 10_000


def test_one_body_of_the_largest_kind_is_no_mapping_of_its_own() -> None:
    assert MALLOC[-3] == 32 * 1024 * 1024  # the largest that glibc takes
