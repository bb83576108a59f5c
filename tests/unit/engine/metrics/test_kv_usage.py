from server.engine.metrics.kv_usage import KvUsage


def test_the_peak_stays_when_what_is_used_goes() -> None:
    usage = KvUsage()
    usage.begin([0])
    for share in (0.1, 0.75, 0.2):
        usage.note(0, share)
    assert (usage.engines, usage.used, usage.peak) == (1, 0.2, 0.75)


def test_several_engine_cores_add_up_and_their_peak_is_of_one_moment() -> None:
    usage = KvUsage()
    usage.begin([2, 3])
    for engine, share in ((2, 0.5), (3, 0.25), (2, 0.0), (3, 0.5)):
        usage.note(engine, share)
    assert (usage.engines, usage.used, usage.peak) == (2, 0.5, 0.75)


def test_an_engine_core_that_is_not_ours_is_not_counted() -> None:
    usage = KvUsage()
    usage.note(0, 0.5)
    assert (usage.engines, usage.used, usage.peak) == (0, 0.0, 0.0)
