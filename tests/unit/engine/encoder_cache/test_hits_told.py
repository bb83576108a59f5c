from server.engine.encoder_cache.hits_told import MOST_REMEMBERED, HitsTold


def test_a_hit_that_was_told_is_not_due_again_at_once() -> None:
    hits = HitsTold()
    assert hits.due("a")
    hits.told("a")
    assert not hits.due("a")
    assert hits.due("b")


def test_what_it_remembers_is_bounded_and_the_oldest_goes_first() -> None:
    hits = HitsTold()
    for number in range(MOST_REMEMBERED + 10):
        hits.told(str(number))
    assert [hits.due(str(number)) for number in (0, 9, 10, MOST_REMEMBERED)] == [True, True, False, False]
