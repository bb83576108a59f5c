"""What is shown of which metrics, and what where a deployment does not tell."""

from rich.console import Console

from server.top.overview import MOST_ROWS, Overview, Seen, most, overview_of
from server.top.reading import Change, Reading, parse_reading
from server.top.screen import number, screen_of, seconds

GATEWAY = b"""# TYPE fovea_build_info gauge
fovea_build_info{version="1.2"} 1
# TYPE fovea_requests counter
fovea_requests_total{route="chat",model="m",status="200",code=""} 8
fovea_requests_total{route="chat",model="m",status="429",code="queue_full"} 2
fovea_requests_total{route="chat",model="m",status="502",code="engine_failed"} 2
# TYPE fovea_requests_waiting gauge
fovea_requests_waiting{model="m",priority="batch"} 3
fovea_requests_waiting{model="n",priority="batch"} 1
# TYPE fovea_engine_ready gauge
fovea_engine_ready{engine="engine-0"} 1
fovea_engine_ready{engine="engine-1"} 0
# TYPE fovea_engine_requests_running gauge
fovea_engine_requests_running{engine="engine-0"} 7
fovea_engine_requests_running{engine="engine-1"} 0
# TYPE fovea_images_by_cache counter
fovea_images_by_cache_total{outcome="hit-disk"} 6
fovea_images_by_cache_total{outcome="miss"} 0
"""
ENGINE = b"""# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} 5
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{model_name="m"} 0.95
# TYPE fovea_kv_cache_used_tokens gauge
fovea_kv_cache_used_tokens{model_name="m"} 12345
# TYPE fovea_kv_cache_capacity_tokens gauge
fovea_kv_cache_capacity_tokens{model_name="m"} 13000
# TYPE fovea_encoder_cache_lookups counter
fovea_encoder_cache_lookups_total{result="hit_host"} 4
"""


def seen(text: bytes) -> Seen:
    return Seen(Change(Reading(at=0), parse_reading(text, 2)))


def shown(overview: Overview) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(screen_of(overview, "http://gateway"))
    return captured.get()


def test_a_deployment_is_shown_as_gateway_and_engines_tell() -> None:
    overview = overview_of(seen(GATEWAY), {"engine-0": seen(ENGINE)})
    assert (overview.version, overview.seconds) == ("1.2", 2)
    traffic = overview.traffic
    assert traffic is not None
    assert (traffic.requests, traffic.refused, traffic.failed) == (6, 1, 1)
    assert traffic.waiting == {"batch": 4}
    assert traffic.embeddings == {"hit-disk": 6}
    one, two = overview.engines
    # The engine's own word comes before the gateway's.
    assert (one.name, one.state, one.running, one.kv_share, one.tiers) == (
        "engine-0",
        "ready",
        5,
        0.95,
        {"hit_host": 4},
    )
    assert (two.name, two.state, two.running, two.kv_share) == ("engine-1", "not ready", 0, None)
    text = shown(overview)
    for wanted in ("batch 4", "engine-0", "not ready", "95%", "12k/13k", "hit_host 4", "hit-disk 6"):
        assert wanted in text


def test_states_are_the_gateways_where_it_tells_them() -> None:
    told = GATEWAY + b'# TYPE fovea_engine_state gauge\nfovea_engine_state{engine="engine-1",state="ejected"} 1\n'
    assert [each.state for each in overview_of(seen(told), {}).engines] == ["ready", "ejected"]


def test_without_a_gateway_the_engines_are_shown_and_why() -> None:
    overview = overview_of(Seen(None, "cannot be reached"), {"engine-0": seen(ENGINE), "b": Seen(None, "silent")})
    assert overview.traffic is None
    assert [each.state for each in overview.engines] == ["silent", "answers"]
    assert "cannot be reached" in shown(overview)
    assert "b: silent" in shown(overview)


def test_names_that_look_like_markup_or_steer_terminals_are_only_text() -> None:
    told = b'# TYPE fovea_engine_ready gauge\nfovea_engine_ready{engine="[red]x\x1b[2J"} 1\n'
    text = shown(overview_of(seen(told), {}))
    assert "[red]x" in text
    assert "\x1b" not in text


def test_long_tables_are_cut_to_what_is_most() -> None:
    counts = {f"code-{number}": float(number) for number in range(100)}
    assert list(most(counts).values()) == [99, 98, 97, 96, 95, 94, 93, 92]
    assert len(most(counts)) == MOST_ROWS


def test_numbers_are_short() -> None:
    assert [number(value) for value in (None, 0, 0.25, 99.94, 100, 12_345, 2_500_000)] == [
        "-",
        "0",
        "0.2",
        "99.9",
        "100",
        "12k",
        "2.5M",
    ]
    assert [seconds(value) for value in (None, 0.0123, 2.5)] == ["-", "12 ms", "2.5 s"]
