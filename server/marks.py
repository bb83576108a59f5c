"""Marks stand in JSON for an image's base64 while that is parsed, and again while it is written.

They are made of a request's own nonce, which nobody is told: no caller can write one.
"""

import secrets

NONCE_CHARS = 32
NUMBER_CHARS = 6
MARK_CHARS = NONCE_CHARS + NUMBER_CHARS


def make_nonce() -> str:
    return secrets.token_hex(NONCE_CHARS // 2)


def make_mark(nonce: str, number: int) -> str:
    return f"{nonce}{number:0{NUMBER_CHARS}d}"


def split_at_marks(text: bytes, nonce: str) -> tuple[bytes, list[tuple[int, bytes]]]:
    """What stands before the first mark; then each mark's number with what stands behind it."""
    first, *rest = text.split(nonce.encode())
    return first, [(int(piece[:NUMBER_CHARS]), piece[NUMBER_CHARS:]) for piece in rest]
