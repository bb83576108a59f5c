"""Text from outside, made fit to be shown in one line: in a log, in an error, on a terminal."""

REPLACEMENT = "\ufffd"


def printable(text: str, most: int) -> str:
    """At most `most` characters, none of which ends a line, moves a cursor or turns the direction of writing.

    `str.isprintable` is false for exactly these (Unicode's classes Other and Separator, but for the space).
    """
    if len(text) > most:
        text = f"{text[: most - 3]}..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else REPLACEMENT for c in text)
