"""Images inside requests: base64 data URLs."""

import pybase64

from server.errors import ImageError, ImageTooLarge

WHITESPACE = str.maketrans("", "", " \t\r\n")


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def decode_data_url(url: str, max_bytes: int) -> bytes:
    """The bytes of a base64 data URL: whitespace is tolerated, anything else outside the alphabet is not.

    Raises ImageError or ImageTooLarge.
    """
    header, comma, encoded = url.partition(",")
    if not comma or not header.lower().endswith(";base64"):
        raise ImageError("An image data URL must have the form data:image/...;base64,...")
    encoded = encoded.translate(WHITESPACE) if any(c in encoded for c in " \t\r\n") else encoded
    if len(encoded) * 3 // 4 > max_bytes + 2:
        raise ImageTooLarge(f"The image is larger than {max_bytes} bytes.")
    try:
        data = pybase64.b64decode(encoded, validate=True)
    except ValueError as problem:
        raise ImageError("The image data URL is not valid base64.") from problem
    if not data:
        raise ImageError("The image data URL is empty.")
    check_size(data, max_bytes)
    return data


def check_size(data: bytes, max_bytes: int) -> None:
    """Raises ImageTooLarge."""
    if len(data) > max_bytes:
        raise ImageTooLarge(f"The image is larger than {max_bytes} bytes.")
