"""The benchmark from end to end over real gateways and fake engines, small: all is asked, told, and ended."""

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import uvloop

from loadtest.bench_end_to_end import Amounts, bench
from loadtest.end_to_end.asking import ask_all, fresh_pictures
from loadtest.end_to_end.engines import BASE, MODEL, Engine, Engines
from loadtest.end_to_end.page import make_page
from loadtest.end_to_end.result import COLD, IN_FRONT, NGINX, NO_AFFINITY, REPEATED, SUBJECTS, TWO
from loadtest.end_to_end.subjects import all_subjects
from loadtest.peers.nginx import Nginx
from loadtest.peers.processes import tree
from tests.fakes.engine import FakeEngine
from tests.fakes.serve import serving

TINY = Amounts(rounds=1, pictures=4, times=2, callers=2, pairs=2, settle_s=0, look_s=0.05)
THERE = {*SUBJECTS} if Nginx().is_there() else {*SUBJECTS} - {NGINX}


@contextmanager
def fake_engines(*fakes: FakeEngine) -> Iterator[Engines]:
    """Each chat counts as an encode."""
    with ExitStack() as stack:
        engines = [Engine(stack.enter_context(serving(each.app)), partial(len, each.chats)) for each in fakes]
        yield Engines(engines, BASE, {"vLLM": "none"}, "vllm serve")


def test_every_subject_is_asked_the_same_and_nothing_stays() -> None:
    before = {*tree(os.getpid())}
    result = bench(TINY, lambda _: fake_engines(FakeEngine(MODEL), FakeEngine(MODEL)))
    assert {(each.subject, each.kind): (len(each.ttft_s), len(each.e2e_s)) for each in result.blocks} == {
        (subject, kind): (count, count) for subject in THERE for kind, count in ((COLD, 4), (REPEATED, 8))
    }
    assert all(each.encodes >= len(each.e2e_s) and each.took_s > 0 for each in result.blocks)
    assert len(result.pairs) == 2
    assert result.affinity.get("home", 0) + result.affinity.get("spilled", 0) == 2 + 4 + 8
    assert json.loads(json.dumps(asdict(result)))["blocks"]
    assert f"| {TWO} |" in make_page(result)
    assert not {*tree(os.getpid())} - before


def test_only_with_affinity_a_picture_meets_the_same_engine_again(tmp_path: Path) -> None:
    fakes, numbers = (FakeEngine(MODEL), FakeEngine(MODEL)), itertools.count()
    with fake_engines(*fakes) as engines, all_subjects(tmp_path, engines) as subjects:
        of = {each.name: each for each in subjects}

        def asked(name: str, picture: str) -> list[int]:
            before = [len(fake.chats) for fake in fakes]
            uvloop.run(ask_all(of[name], [picture] * 6, 1, numbers))
            return [len(fake.chats) - count for fake, count in zip(fakes, before, strict=True)]

        first, second, third = fresh_pictures(3, 1)
        assert asked(IN_FRONT, first) == [6, 0]
        assert sorted(asked(TWO, second)) == [0, 6]
        assert min(asked(NO_AFFINITY, third)) >= 1
