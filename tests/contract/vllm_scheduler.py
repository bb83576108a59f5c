"""The connector under vLLM's own scheduler, with workers that check what a model would see.

`python -m tests.contract.vllm_scheduler FOLDER` runs where vLLM is, and prints what came to pass as JSON
(test_encoder_cache_in_vllm.py holds it to account). A worker here does what vLLM's V1 runner does with its encoder
cache, and its "encoder" makes tensors that tell which picture they are of.
"""

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from vllm.config import ECTransferConfig
from vllm.distributed.ec_transfer.ec_connector.utils import ECOutputAggregator
from vllm.engine.arg_utils import EngineArgs
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.encoder_cache_manager import EncoderCacheManager
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ECConnectorOutput, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from server.engine.encoder_cache import opening, scheduling
from server.engine.encoder_cache.arena_view import ArenaView
from server.engine.encoder_cache.loading import SENTINEL, Loading
from server.engine.encoder_cache.options import Options

DEMO_MODEL = Path(__file__).parents[2] / "demo" / "model"
BLOCK = 16
WIDTH = 8
PATIENCE_S = 60.0


class Worker:
    """One rank, as vLLM's V1 runner treats the cache of its encoder."""

    def __init__(self, options: Options, writes: bool) -> None:
        def open_writer(setup: Any) -> Any:
            return opening.open_writer(options, setup.namespace, setup.private, {}) if writes else None

        self.loading = Loading(torch.device("cpu"), open_writer)
        self.cache: dict[str, Any] = {}
        self.encoded: Counter[str] = Counter()
        self.features: dict[str, Any] = {}
        self.wrong: list[str] = []

    def run(self, output: Any) -> Any:
        for name in output.free_encoder_mm_hashes:
            self.cache.pop(name, None)
        for new in output.scheduled_new_reqs:
            self.features[new.req_id] = new.mm_features
        if not output.total_num_scheduled_tokens:
            return None
        self.loading.start(output.ec_connector_metadata, self.cache)
        for request, inputs in output.scheduled_encoder_inputs.items():
            for feature in (self.features[request][each] for each in inputs):
                self.encoded[feature.identifier] += 1
                self.cache[feature.identifier] = picture_of(feature)
                self.loading.save(feature.identifier, self.cache[feature.identifier])
        self.gather(output)
        return self.loading.report()

    def gather(self, output: Any) -> None:
        """Where vLLM would end the engine for what is missing."""
        cached = output.scheduled_cached_reqs
        computed = dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        computed |= {new.req_id: new.num_computed_tokens for new in output.scheduled_new_reqs}
        for request, count in output.num_scheduled_tokens.items():
            start = computed[request]
            for feature in self.features[request]:
                place = feature.mm_position
                if place.offset < start + count and place.offset + place.length > start:
                    found = self.cache.get(feature.identifier)
                    if found is None:
                        self.wrong.append("missing")
                    elif not torch.equal(found, picture_of(feature)):
                        self.wrong.append("other")


def picture_of(feature: Any) -> Any:
    rows = torch.arange(feature.mm_position.length, dtype=torch.float32)[:, None]
    seed = int(feature.identifier.split("-")[1])
    return (rows + torch.arange(WIDTH) * 3 + seed * 7 % 251).to(torch.bfloat16)


class Engine:
    """vLLM's scheduler with our connector in it, and `ranks` workers."""

    def __init__(
        self, folder: Path, ranks: int = 1, blocks: int = 200, memory: int = 400, batch: int = 128, **arguments: Any
    ) -> None:
        options = {"folder": str(folder), "host_bytes": 1 << 22, "lookup_wait_s": 5.0}
        transfer = ECTransferConfig(
            ec_connector="FoveaEncoderCache",
            ec_connector_module_path="fovea_encoder_cache",
            ec_role="ec_both",
            ec_connector_extra_config=options,
        )
        config = EngineArgs(
            model=str(DEMO_MODEL), max_model_len=1024, max_num_batched_tokens=batch, max_num_seqs=8,
            block_size=BLOCK, enforce_eager=True, ec_transfer_config=transfer, async_scheduling=False, **arguments,
        ).create_engine_config()  # fmt: skip
        config.parallel_config.tensor_parallel_size = ranks
        config.cache_config.num_gpu_blocks = blocks
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
        cache = KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)])
        self.scheduler = Scheduler(config, cache, StructuredOutputManager(config), BLOCK, log_stats=True)
        self.scheduler.encoder_cache_manager = EncoderCacheManager(memory)
        self.workers = [Worker(Options(**options), rank == 0) for rank in range(ranks)]
        init_none_hash(sha256)
        self.hasher = get_request_block_hasher(BLOCK, sha256)
        self.figures: Counter[str] = Counter()
        self.outcomes: list[dict[str, str]] = []
        self.finished: dict[str, str] = {}
        self.asked = 0
        self.text()

    def text(self) -> None:
        """The first step sets workers up, as `fovea engine`'s own first request does."""
        self.ask([])
        self.run()

    def ask(self, pictures: list[tuple[int, int]], tokens: int = 2, salt: int = 0, priority: int = 0) -> str:
        """A request for pictures of (number, rows), each behind three tokens of text."""
        prompt, features = [salt % 200 + 1], []
        for number, rows in pictures:
            prompt += [5, 6, 7]
            place = PlaceholderRange(offset=len(prompt), length=rows)
            features.append(MultiModalFeatureSpec(None, "image", f"picture-{number}", place, f"picture-{number}"))
            prompt += [9] * rows
        name = f"r{self.asked}"
        self.asked += 1
        sampling = SamplingParams(max_tokens=tokens, ignore_eos=True)
        request = Request(
            name, [*prompt, 4], sampling, None, mm_features=features, block_hasher=self.hasher, priority=priority
        )
        self.scheduler.add_request(request)
        return name

    def step(self) -> None:
        output = self.scheduler.schedule()
        if not output.total_num_scheduled_tokens:
            self.figures["empty"] += 1
            time.sleep(0.001)  # as vLLM's core does
        reports = [worker.run(output) for worker in self.workers]
        results = [self.result(output, report) for report in reports]
        for outputs in self.scheduler.update_from_output(output, ECOutputAggregator().aggregate(results)).values():
            if outputs.scheduler_stats and (stats := outputs.scheduler_stats.ec_connector_stats):
                self.figures.update(
                    {k: v for k, v in stats["counts"].items() if k.startswith(("lookups", "errors"))}
                )
                self.outcomes.append(stats["outcomes"])
            for each in outputs.outputs:
                if each.finish_reason is not None:
                    self.finished[each.request_id] = str(each.finish_reason)

    def result(self, output: Any, report: Any) -> Any:
        names = list(output.num_scheduled_tokens)
        tokens = []
        for name in names:
            request = self.scheduler.requests[name]
            tokens.append([3] if request.num_computed_tokens >= request.num_tokens else [])
        return ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: n for n, name in enumerate(names)},
            sampled_token_ids=tokens,
            ec_connector_output=ECConnectorOutput(ec_connector_worker_meta=report),
        )

    def run(self, until_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + until_s
        while self.scheduler.has_unfinished_requests():
            self.step()
            if time.monotonic() > end:
                raise TimeoutError("requests do not end")

    def saved(self) -> None:
        """Until what was encoded lies in the folder, and the scheduler knows."""
        writer = self.workers[0].loading._writer
        if writer is not None:
            writer.behind.drain(20)
        self.text()

    def close(self) -> dict[str, Any]:
        half = self.scheduler.ec_connector._scheduling
        told = {
            "encoded": sum(self.workers[0].encoded.values()),
            "most_of_one": max(self.workers[0].encoded.values(), default=0),
            "wrong": [wrong for worker in self.workers for wrong in worker.wrong],
            "pinned": half._lookups.figures.bytes_pinned,
            "live": len(half._refusals),
            "in_flight": len(half._in_flight) + len(half._orders) + len(half._promised),
            "on": half.is_on,
            "errors": sum(reason == "error" for reason in self.finished.values()),
            **self.figures,
        }
        self.scheduler.shutdown()
        for worker in self.workers:
            worker.loading.close(5)
        return told


def restarts(folder: Path) -> dict[str, Any]:
    """Ten pictures, asked for thrice by an engine and thrice by the one after it."""
    told = {}
    for name in ("first", "second"):
        engine = Engine(folder)
        for turn in range(3):
            for number in range(10):
                engine.ask([(number, 20)], salt=turn)
            engine.run()
        engine.saved()
        told[name] = engine.close()
    return told


def evictions(folder: Path) -> dict[str, Any]:
    """vLLM's own memory holds three of the ten pictures, and ours all: each is encoded once."""
    engine = Engine(folder, memory=70)
    for turn in range(4):
        for number in range(10):
            engine.ask([(number, 20)], salt=turn)
            engine.run()
            engine.saved()
    return engine.close()


def one_picture_at_once(folder: Path) -> dict[str, Any]:
    """Many requests for one picture, and one that shows it thrice, in one step."""
    seed = Engine(folder)
    seed.ask([(1, 20)])
    seed.run()
    seed.saved()
    seed.close()
    engine = Engine(folder)
    for salt in range(5):
        engine.ask([(1, 20)], salt=salt)
    engine.ask([(1, 20), (1, 20), (1, 20)], salt=9)
    engine.run()
    return engine.close()


def ranks(folder: Path) -> dict[str, Any]:
    """Two ranks: both load, one writes."""
    told = {}
    for name in ("first", "second"):
        engine = Engine(folder, ranks=2)
        for number in range(6):
            engine.ask([(number, 20)])
        engine.run()
        engine.saved()
        told[name] = engine.close() | {"other": sum(engine.workers[1].encoded.values())}
    return told | {"files": len(list(folder.rglob("*.emb")))}


def another_size(folder: Path) -> dict[str, Any]:
    """A name of a picture is given to another one, of another size, in the next engine; and again in the third."""
    told = {}
    for name, rows in (("first", 20), ("second", 24), ("third", 24)):
        engine = Engine(folder)
        engine.ask([(1, rows)])
        engine.run()
        engine.saved()
        told[name] = engine.close()
    return told


def unreadable(folder: Path) -> dict[str, Any]:
    """What was promised cannot be read: those who need it fail, and others do not; the engine lives."""
    restarts(folder)
    engine = Engine(folder)
    engine.workers[0].loading._view.read = None  # type: ignore[union-attr,assignment,method-assign]
    victim, other = engine.ask([(1, 20)], tokens=9), engine.ask([(77, 20)], tokens=9)
    engine.run()
    engine.workers[0].wrong.clear()
    again = engine.ask([(2, 20)])
    engine.run()
    return engine.close() | {"finished": [engine.finished[each] for each in (victim, other, again)]}


def cleared(folder: Path) -> dict[str, Any]:
    """vLLM clears its encoder cache, as it does when weights change: nothing older is used after that."""
    restarts(folder)
    engine = Engine(folder)
    engine.ask([(1, 20)])
    engine.run()
    engine.scheduler.reset_encoder_cache()
    engine.workers[0].cache.clear()
    victim = engine.ask([(2, 20)], tokens=9)
    engine.run()
    again = engine.ask([(3, 20)], tokens=9)
    engine.run()
    facts = {"sentinel": SENTINEL in engine.workers[0].cache}
    return engine.close() | facts | {"finished": [engine.finished[each] for each in (victim, again)]}


def apart(folder: Path) -> dict[str, Any]:
    """A worker that cannot open the scheduler's memory, as on another machine."""
    attach, ArenaView.attach = ArenaView.attach, staticmethod(refuse)  # type: ignore[assignment,method-assign]
    engine = Engine(folder)
    ArenaView.attach = attach  # type: ignore[method-assign]
    for _ in range(2):
        engine.ask([(1, 20)])
        engine.run()
    return engine.close()


def astonished(folder: Path) -> dict[str, Any]:
    """Each of what the scheduler's half does raises, after something was promised."""
    restarts(folder)
    told = {}
    for name in ("ensure_available", "has_item", "told", "finished", "take_unavailable", "allocated", "scheduled"):
        engine = Engine(folder)
        engine.ask([(1, 20), (2, 20)])
        engine.run()
        half = engine.scheduler.ec_connector._scheduling
        setattr(half.seen if name in ("allocated", "scheduled") else half, name, refuse)
        asked = [engine.ask([(3, 20)]), engine.ask([(1, 20), (99, 20)])]
        engine.run()
        told[name] = engine.close() | {"finished": [engine.finished[each] for each in asked]}
    return told


def refuse(*_: Any) -> Any:
    raise OSError("not here")


def anything(folder: Path, seed: int) -> dict[str, Any]:
    """Random requests, sizes, memories, aborts and priorities, with hardly room for anything.

    Every other time each look-up costs a step, as it does where others run.
    """
    scheduling.PATIENCE_S = 0.01 * (seed % 2)
    rng = random.Random(seed)
    engine = Engine(folder, memory=90, blocks=26, batch=64, scheduling_policy="priority")
    sizes = [4 + 7 * each % 56 for each in range(25)]
    names: list[str] = []
    for _ in range(120):
        if rng.random() < 0.5:
            chosen = [rng.randrange(25) for _ in range(rng.randrange(1, 4))]
            salt, priority = rng.randrange(3), rng.randrange(3)
            pictures = [(each, sizes[each]) for each in chosen]
            names.append(engine.ask(pictures, rng.randrange(1, 30), salt, priority))
        if names and rng.random() < 0.1:
            gone = rng.choice(names)
            engine.figures["aborted"] += gone in engine.scheduler.requests
            engine.scheduler.finish_requests([gone], RequestStatus.FINISHED_ABORTED)
        engine.figures["preempted"] += sum(each.num_preemptions for each in engine.scheduler.requests.values())
        if engine.scheduler.has_requests():
            engine.step()
    engine.run()
    engine.saved()
    return engine.close()


def main() -> None:
    folder = Path(sys.argv[1])
    scenes = {each.__name__: each for each in (
        restarts, evictions, one_picture_at_once, ranks, another_size, unreadable, cleared, apart, astonished,
    )}  # fmt: skip
    told = {name: scene(folder / name) for name, scene in scenes.items()}
    shared = folder / "anything"
    told["anything"] = [anything(shared, seed) for seed in range(4)]  # type: ignore[assignment]
    print(json.dumps(told))


if __name__ == "__main__":
    main()
