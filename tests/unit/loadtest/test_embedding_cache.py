import base64
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.embedding_cache import engines
from loadtest.embedding_cache.checkpoint import vision_tensors, write_weights
from loadtest.embedding_cache.engines import Engine, Kind
from loadtest.embedding_cache.page import judged, make_page
from loadtest.embedding_cache.pictures import draw_picture
from loadtest.embedding_cache.result import (
    COLD,
    DISK,
    EXAMPLE,
    FIRST,
    HOST,
    OURS,
    OWN,
    RESTART,
    SHARED,
    STOCK,
    TEXT,
    Asked,
    Count,
    Pair,
    Result,
    read_result,
)

FOUND = {COLD: "miss", OWN: "", HOST: "hit_host", DISK: "hit_disk", RESTART: "hit_disk", SHARED: "hit_shared"}


def a_result(warm_s: float = 0.02, found: dict[str, str] = FOUND, runs: int = 2, added_s: float = 0.001) -> Result:
    asked = [Asked(OURS, 448, tier, 2.0 if tier == COLD else warm_s, found[tier]) for tier in FOUND]
    asked += [Asked(STOCK, 448, COLD, 2.0), Asked(STOCK, 448, TEXT, 0.018), Asked(STOCK, 448, FIRST, 0.019)]
    asked += [Asked(EXAMPLE, 448, COLD, 2.0), Asked(EXAMPLE, 448, DISK, 0.025), Asked(EXAMPLE, 448, RESTART, 0.035)]
    return Result(
        date="2026-11-22", machine="x", versions={"vLLM": "0"}, tower_bytes=1, embedding_bytes={"448": 100_352},
        start_s={OURS: 30.0}, asked=asked, pairs=[Pair(448, 2.0, 2.1, added_s, 0.0)],
        counts=[Count(OURS, 2, 20, 3, runs)], took_s=60,
    )  # fmt: skip


def verdicts(result: Result) -> list[bool]:
    return [met for _, _, met in judged(result)]


def test_a_result_that_holds_what_was_asked_meets_it_all() -> None:
    assert verdicts(a_result()) == [True] * 10


@pytest.mark.parametrize(
    ("result", "missed"),
    [
        (a_result(warm_s=0.041), 7),  # five tiers are not 50 times faster, and none is as fast as the example
        (a_result(warm_s=0.03), 1),  # as fast as the example after a restart, not on a running engine
        (a_result(runs=3), 1),
        (a_result(added_s=0.021), 1),
        (a_result(found={**FOUND, HOST: "hit_disk"}), 1),
        (a_result(found={**FOUND, COLD: "hit_shared"}), 1),
    ],
)
def test_what_is_missed_is_said(result: Result, missed: int) -> None:
    assert verdicts(result).count(False) == missed
    assert make_page(result).count("| missed |") == missed


def test_beside_each_ratio_stands_what_text_alone_takes() -> None:
    page = make_page(a_result())
    assert "| 100 (20 ms; text 18 ms) |" in page
    assert "| 100 (20 ms; text 19 ms) |" in page


def test_a_result_is_read_back_as_it_was_written() -> None:
    result = a_result()
    assert read_result(json.dumps(asdict(result))) == result


def test_tiers_that_were_not_measured_have_no_line() -> None:
    result = a_result()
    result.asked = [each for each in result.asked if each.tier != SHARED]
    assert "Valkey" in make_page(a_result())
    assert "Valkey" not in make_page(result)


def test_pictures_are_each_another_and_the_same_again() -> None:
    one, other, again = draw_picture(64, 1), draw_picture(64, 2), draw_picture(64, 1)
    assert one == again
    assert one.digest != other.digest
    assert base64.b64decode(one.url.partition(",")[2])[:3] == b"\xff\xd8\xff"


def test_the_tower_is_as_large_as_the_real_one_and_fits_the_language_model(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape, _ in vision_tensors(256)}
    assert sum(name.endswith("attn.qkv.weight") for name in shapes) == 27
    assert shapes["model.visual.merger.linear_fc2.weight"] == (256, 4608)
    few = [tensor for tensor in vision_tensors(256) if "blocks.0.norm" in tensor[0] or "patch_embed" in tensor[0]]
    for name in ("a", "b"):
        write_weights(tmp_path / name, few, seed=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def load_watch() -> Any:
    path = Path(engines.INSIDE) / "fovea_bench_watch.py"
    spec = importlib.util.spec_from_file_location("fovea_bench_watch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Connector:
    """Answers as one does that looks a picture up once and then has it encoded."""

    def __init__(self) -> None:
        self.asked = 0

    def ensure_cache_available(self, request: Any, num_computed_tokens: int) -> bool:
        self.asked += 1
        return self.asked > 1

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def test_the_watch_counts_encodes_and_adds_up_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("FOVEA_BENCH_WATCH", str(seen))
    connector: Any = Connector()
    load_watch().put_watch_on(connector)
    request = SimpleNamespace(request_id="r")
    assert [connector.ensure_cache_available(request, 0) for _ in range(2)] == [False, True]
    connector.save_caches(encoder_cache={}, mm_hash="p1")
    connector.save_caches({}, "p2")
    connector.get_ec_connector_stats()
    engine = Engine(0, None, tmp_path, seen)  # type: ignore[arg-type]
    assert engine.encoded() == ["p1", "p2"]
    cost = engine.cost()
    assert cost.calls.keys() == {"ensure_cache_available", "save_caches", "get_ec_connector_stats"}
    assert cost.waited_s > 0
    assert engine.cost().calls == {}
    connector.build_connector_worker_meta()
    assert engine.cost().calls.keys() == {"build_connector_worker_meta"}
    assert engine.encoded() == ["p1", "p2"]


def test_stock_engines_are_given_no_connector_and_others_a_watched_one() -> None:
    assert Kind(STOCK).arguments() == []
    flag, config = Kind(OURS, "WatchedFovea", "fovea_bench_ours", {"folder": "/f"}).arguments()
    assert flag == "--ec-transfer-config"
    assert json.loads(config)["ec_connector_extra_config"] == {"folder": "/f"}
