import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.images.token_rules.qwen import QwenTokenRule

QWEN35 = QwenTokenRule(patch=16, merge=2, min_pixels=65536, max_pixels=16777216)
SIDES = st.integers(min_value=1, max_value=8000)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((448, 448), 196), ((1024, 1024), 1024), ((256, 256), 64), ((100, 100), 64), ((640, 480), 300)],
)
def test_known_sizes_of_qwen35(size: tuple[int, int], tokens: int) -> None:
    assert QWEN35.tokens(*size) == tokens


@given(SIDES, SIDES)
def test_resized_sides_are_whole_tiles(width: int, height: int) -> None:
    columns, rows = QWEN35.resized(width, height)
    assert columns % 32 == 0
    assert rows % 32 == 0
    assert columns * rows >= 65536 or max(width, height) / min(width, height) > 50
    assert QWEN35.tokens(width, height) == (columns // 32) * (rows // 32)
