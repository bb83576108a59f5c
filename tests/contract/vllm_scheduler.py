"""The connector under vLLM's own scheduler, with workers that check what a model would see.

For where vLLM is (vllm_scheduler_scenes.py). A worker here does what vLLM's V1 runner does with its encoder cache,
and its "encoder" makes tensors that tell which picture they are of.
"""

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
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from server.engine.encoder_cache import opening
from server.engine.encoder_cache.loading import Loading
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
