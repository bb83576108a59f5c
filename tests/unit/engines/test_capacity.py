from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engines.capacity import MOST_METRICS_BYTES, EngineReport, read_report
from server.errors import EngineError

# What vLLM 0.32 tells of the demo's model on a CPU, those lines that are read and some beside them.
VLLM = (Path(__file__).parent / "vllm_metrics.txt").read_bytes()
QUEUE = b'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_waiting{engine="0"} 2.0\n'
CACHE = b'block_size="16",kv_cache_max_concurrency="2.5",kv_cache_size_tokens="10240",num_gpu_blocks="%d"'


def cache_line(labels: bytes, rank: int = 0) -> bytes:
    return b'vllm:cache_config_info{%s,engine="%d"} 1.0\n' % (labels, rank)


def test_what_vllm_tells_is_read() -> None:
    report = read_report(VLLM)
    assert (report.running, report.waiting, report.kv_usage) == (0, 0, 0.0)
    assert (report.blocks, report.block_size, report.kv_tokens) == (2730, 256, 621226)
    assert report.kv_bytes_per_token == 2**30 / 621226
    assert report.cache_dtype == "auto"


def test_a_sequence_holds_blocks_of_state_beside_those_of_its_tokens() -> None:
    report = read_report(VLLM)
    assert [report.blocks_for(tokens) for tokens in (1, 256, 257, 4096)] == [3, 3, 4, 18]
    assert report.blocks is not None
    assert report.blocks / 18 == pytest.approx(151.67, abs=0.01)  # the concurrency that vLLM tells of 4096 tokens


def test_without_linear_attention_blocks_are_those_of_tokens_alone() -> None:
    report = read_report(QUEUE + cache_line(CACHE % 640))
    assert (report.running, report.waiting, report.kv_usage) == (3, 2, None)
    assert [report.blocks_for(tokens) for tokens in (1, 16, 17, 4096)] == [1, 1, 2, 256]


def test_ranks_are_added_up_but_for_the_blocks_which_vllm_has_added_up() -> None:
    queue = QUEUE + QUEUE.replace(b'engine="0"', b'engine="1"')
    usage = b'vllm:kv_cache_usage_perc{engine="0"} 0.5\nvllm:kv_cache_usage_perc{engine="1"} 0.25\n'
    report = read_report(queue + usage + cache_line(CACHE % 1280) + cache_line(CACHE % 1280, 1))
    assert (report.running, report.waiting, report.kv_usage) == (6, 4, 0.375)
    assert (report.blocks, report.kv_tokens, report.most_tokens) == (1280, 20480, 10240)
    assert report.blocks_for(4096) == 256


def test_a_request_can_have_what_the_blocks_hold_where_the_context_does_not_fit_into_them() -> None:
    """Of 9 blocks, the state takes 2 and 7 are for tokens; vLLM's sum spreads the state over a whole context."""
    small = VLLM.replace(b'num_gpu_blocks="2730"', b'num_gpu_blocks="9"').replace(b"621226", b"2048")
    report = read_report(small.replace(b"151.66666666666666", b"0.5"))
    assert report.state_blocks == 2
    assert (report.kv_tokens, report.most_tokens) == (2048, 7 * 256)
    assert report.blocks_for(7 * 256) == 9
    assert read_report(VLLM).most_tokens == 621226


def test_an_engine_that_tells_of_its_queue_alone_is_known_so_far() -> None:
    assert read_report(QUEUE) == EngineReport(running=3, waiting=2)


@pytest.mark.parametrize(
    "metrics",
    [
        b"",
        b"<html>",
        b"# TYPE vllm:num_requests_running gauge\n",
        QUEUE.replace(b"3.0", b"NaN"),
        QUEUE.replace(b"3.0", b"-1"),
        QUEUE.replace(b"3.0", b"1e999"),
        QUEUE.replace(b"3.0", b"many"),
        QUEUE + b'vllm:kv_cache_usage_perc{engine="0"} 1.5\n',
        QUEUE + cache_line(b'block_size="many"'),
        QUEUE + cache_line(b'block_size="16",kv_cache_max_concurrency="1e-320",num_gpu_blocks="9"'),
        QUEUE + b"".join(b'vllm:kv_cache_usage_perc{engine="%d"} 0.5\n' % rank for rank in range(300)),
        QUEUE + b"#" * MOST_METRICS_BYTES,
    ],
)
def test_what_no_engine_would_tell_is_an_engines_error(metrics: bytes) -> None:
    with pytest.raises(EngineError):
        read_report(metrics)


@given(st.integers(0, len(VLLM)), st.integers(0, 40), st.binary(max_size=40))
def test_damaged_metrics_are_read_or_an_engines_error(start: int, length: int, put: bytes) -> None:
    try:
        report = read_report(VLLM[:start] + put + VLLM[start + length :])
    except EngineError:
        return
    assert report.running >= 0
    assert report.kv_usage is None or 0 <= report.kv_usage <= 1
    assert (report.blocks_for(1000) or 0) >= 0
