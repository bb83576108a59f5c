"""The replies of both sides, kept in a journal."""

from dataclasses import asdict, dataclass
from typing import Literal

from quantize.errors import UsageError
from quantize.journal import Journal

Side = Literal["base", "candidate"]


@dataclass(frozen=True, slots=True)
class Reply:
    """`finished`: the model stopped by itself. `fault` is what the endpoint said instead of answering."""

    text: str
    finished: bool
    fault: str = ""


class Answers:
    """Look-ups by side and key over a journal; at most one reply for each."""

    def __init__(self, journal: Journal) -> None:
        """Raises UsageError when the journal holds something else."""
        self._journal = journal
        self.replies: dict[tuple[Side, str], Reply] = {}
        for entry in journal.entries:
            try:
                reply = Reply(entry["text"], entry["finished"], entry["fault"])
                self.replies[entry["side"], entry["key"]] = reply
            except (KeyError, TypeError) as problem:
                raise UsageError(f"{journal.path} holds no answers: choose another folder") from problem

    def add(self, side: Side, key: str, reply: Reply) -> None:
        self.replies[side, key] = reply
        self._journal.add({"side": side, "key": key, **asdict(reply)})
