import logging

import pytest

from server.engine.encoder_cache.complaints import MAX_REASONS, Complaints


def test_a_reason_is_told_once_a_minute_and_others_at_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints("embeddings in /cache")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            complaints.tell("full", "0123456789ab")
        complaints.tell("permission")
    assert caplog.messages == ["embeddings in /cache: full (0123456789ab)", "embeddings in /cache: permission"]


def test_the_next_line_says_how_many_were_not_told(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints("here", now=lambda: clock[0])
    clock = [100.0]
    for clock[0] in (100, 101, 159, 160):
        complaints.tell("full")
    assert caplog.messages == ["here: full", "here: full, 2 more before"]


def test_reasons_are_bounded() -> None:
    complaints = Complaints("here")
    for number in range(2 * MAX_REASONS):
        complaints.tell(str(number))
    assert len(complaints.told) == MAX_REASONS
