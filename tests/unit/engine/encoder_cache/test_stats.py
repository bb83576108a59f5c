from server.engine.encoder_cache.stats import COLLECT_S, EncoderCacheStats, Tally


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_told_of_a_step_in_which_nothing_came_to_pass() -> None:
    tally = Tally()
    assert tally.take({}) is None


def test_counts_are_told_once() -> None:
    tally = Tally(Clock())
    tally.count("lookups|miss")
    tally.add({"lookups|miss": 2, "read_seconds|host": 0.5}, {"bytes|host": 7})
    stats = tally.take({"cat": "miss"})
    assert stats is not None
    assert stats.data == {
        "counts": {"lookups|miss": 3, "read_seconds|host": 0.5},
        "held": {"bytes|host": 7},
        "outcomes": {"cat": "miss"},
    }
    assert tally.take({}) is None


def test_of_totals_the_growth_is_told_twice_a_second_at_most() -> None:
    clock, totals = Clock(), {"reads|disk": 5.0}
    tally = Tally(clock)
    tally.collect_from(lambda: (totals, {}))
    first = tally.take({})
    assert first
    assert first.data["counts"] == {"reads|disk": 5}
    totals["reads|disk"] = 8
    assert tally.take({}) is None
    clock.now += COLLECT_S
    later = tally.take({})
    assert later
    assert later.data["counts"] == {"reads|disk": 3}


def test_statistics_of_several_steps_add_up_and_the_latest_state_stands() -> None:
    one = EncoderCacheStats({"counts": {"lookups|miss": 1}, "held": {"bytes|host": 1}, "outcomes": {"cat": "miss"}})
    two = EncoderCacheStats({"counts": {"lookups|miss": 1, "dropped|saving": 2}, "held": {"bytes|host": 9}})
    assert one.aggregate(two).data == {
        "counts": {"lookups|miss": 2, "dropped|saving": 2},
        "held": {"bytes|host": 9},
        "outcomes": {"cat": "miss"},
    }


def test_vllm_s_log_line_says_what_was_found_and_what_went_wrong() -> None:
    counts = {"lookups|hit_disk": 2, "errors|disk|checksum": 1, "errors|shared|lost": 1}
    line = EncoderCacheStats({"counts": counts, "held": {"bytes|host": 3_000_000}}).reduce()
    assert line == {
        "hit_host": 0, "hit_disk": 2, "hit_shared": 0, "miss": 0, "errors": 2, "MB in host memory": 3,
    }  # fmt: skip


def test_statistics_of_nothing_are_empty() -> None:
    assert EncoderCacheStats().is_empty()
    assert EncoderCacheStats({"counts": {}, "held": {}, "outcomes": {}}).is_empty()
    assert not EncoderCacheStats({"held": {"on": 0.0}}).is_empty()
