"""What every family's rule answers (server/images/token_rules): the tokens of a prompt that a picture takes."""

from typing import Protocol


class TokenRule(Protocol):
    """`name` is told to callers. `markers` are the tokens around a picture's own that the chat template writes."""

    @property
    def name(self) -> str: ...

    @property
    def markers(self) -> int: ...

    def tokens(self, width: int, height: int) -> int:
        """What the model's processor puts in one picture's place; sides in pixels, as the engine gets them."""
        ...


def prompt_tokens(rule: TokenRule, width: int, height: int) -> int:
    """All that one picture adds to a prompt."""
    return rule.tokens(width, height) + rule.markers
