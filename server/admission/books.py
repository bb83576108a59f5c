"""What the requests at the engines of one pool hold: places and tokens."""


class Books:
    """Never below zero: what is given back was taken."""

    __slots__ = ("places", "released", "tokens")

    def __init__(self) -> None:
        self.places = 0
        self.tokens = 0
        self.released = 0  # tokens given back, ever: the drain rate is made of it

    def take(self, tokens: int) -> None:
        self.places += 1
        self.tokens += tokens

    def give(self, tokens: int) -> None:
        self.places -= 1
        self.tokens -= tokens
        self.released += tokens
        if self.places < 0 or self.tokens < 0:
            raise RuntimeError("more was given back to the gate than was taken")
