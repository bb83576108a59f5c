import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import ImageError, ImageTooLarge
from server.images.data_url import decode_data_url


@given(st.binary(min_size=1, max_size=200))
def test_what_is_encoded_decodes_to_itself(data: bytes) -> None:
    assert decode_data_url(f"data:image/png;base64,{base64.b64encode(data).decode()}", 200) == data


def test_whitespace_inside_base64_is_tolerated() -> None:
    encoded = base64.encodebytes(bytes(range(200))).decode()
    assert decode_data_url(f"data:image/png;base64,{encoded}", 200) == bytes(range(200))


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,!!!!",
        "data:image/png;base64,abc",
        "data:image/png;base64,",
        "data:,hi",
        "data:image/png;base64",
    ],
)
def test_garbage_is_refused(url: str) -> None:
    with pytest.raises(ImageError):
        decode_data_url(url, 100)


@pytest.mark.parametrize("size", [101, 102, 103, 5000])
def test_the_byte_cap_is_exact(size: int) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"x" * size).decode()
    with pytest.raises(ImageTooLarge):
        decode_data_url(url, 100)
    assert len(decode_data_url("data:image/png;base64," + base64.b64encode(b"x" * 100).decode(), 100)) == 100
