"""What each process holds, by the kernel, and what is bounded, by /metrics: every few seconds, in a thread."""

import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from loadtest.peers.processes import tree
from loadtest.soak.result import Sample, Watched

# Of these the newest value is noted, summed up over what is not named here.
SIZES = (
    "fovea_requests_in_flight",
    "fovea_bytes_in_flight",
    "fovea_requests_waiting",
    "fovea_encoder_cache_entries",
    "fovea_encoder_cache_bytes",
    "fovea_encoder_cache_queue_bytes",
    "fovea_encoder_cache_evictions_total",
    "fovea_kv_cache_used_tokens",
)
LINE = re.compile(rf"^({'|'.join(SIZES)})(?:\{{(.*)\}})? (\S+)$", re.MULTILINE)
TIER = re.compile(r'(?:tier|queue)="(\w+)"')
SCRAPE_S = 20


def look(pid: int, at_s: float) -> Sample | None:
    """None where it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        rollup = (folder / "smaps_rollup").read_text()
        files = sockets = 0
        for each in (folder / "fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(each).startswith("socket:"):
                    sockets += 1
                else:
                    files += 1
    except (FileNotFoundError, ProcessLookupError):
        return None
    private = sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+)", rollup, re.MULTILINE))
    rss = float(status["VmRSS"].split()[0])
    return Sample(
        round(at_s, 1), round(rss / 1024, 2), round(private / 1024, 2), files, sockets, int(status["Threads"])
    )


def name_of(pid: int) -> str:
    """vLLM gives its processes titles; others are what their first arguments say."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    title = words[0].strip()
    if title.startswith("VLLM::"):
        return title.removeprefix("VLLM::").split(" ")[0]
    if any("resource_tracker" in word for word in words):
        return "resource tracker"
    return "API server" if any("vllm" in word for word in words) else "helper"


def processes_of(roots: Mapping[str, int]) -> dict[int, str]:
    """All of each root's, named: its own name, or with what it is called beside it, where there are several."""
    found: dict[int, str] = {}
    for root, pid in roots.items():
        members = tree(pid)
        for member in members:
            part = "launcher" if member == pid else name_of(member)
            name = root if len(members) == 1 else f"{root}: {part}"
            same = sum(known.startswith(name) for known in found.values())
            found[member] = f"{name} {same + 1}" if same else name
    return found


class Watcher:
    """Samples while it is entered. `started` counts processes that were not there at the beginning."""

    def __init__(self, roots: Mapping[str, int], unjudged: Mapping[str, int], pages: list[str], every_s: float):
        self._roots, self._pages, self._every_s = roots, pages, every_s
        self._pids = processes_of({**roots, **unjudged})
        judged = set(processes_of(roots))
        self.watched = {pid: Watched(name, pid in judged) for pid, name in self._pids.items()}
        self.sizes_at_s: list[float] = []
        self.sizes: dict[str, list[float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> "Watcher":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def at_rest(self) -> dict[int, Sample]:
        looks = {pid: look(pid, 0.0) for pid in self._pids}
        return {pid: sample for pid, sample in looks.items() if sample}

    def gone_or_new(self) -> list[str]:
        """Processes that ended or came meanwhile, by name."""
        now = processes_of(self._roots)
        before = {pid: name for pid, name in self._pids.items() if self.watched[pid].judged}
        return [f"{name} ended" for pid, name in before.items() if pid not in now] + [
            f"{name} came" for pid, name in now.items() if pid not in before
        ]

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(self._every_s)  # the last look is at the end
            at_s = time.monotonic() - self._began
            for pid, watched in self.watched.items():
                if sample := look(pid, at_s):
                    watched.samples.append(sample)
            self._scrape(at_s)

    def _scrape(self, at_s: float) -> None:
        found: dict[str, float] = {}
        for page in self._pages:
            try:
                with urllib.request.urlopen(page, timeout=SCRAPE_S) as answer:
                    text = answer.read().decode()
            except (urllib.error.URLError, OSError):
                return  # this one is missing, in all of them
            for name, labels, value in LINE.findall(text):
                tier = TIER.search(labels)
                key = f"{name} {tier[1]}" if tier else name
                found[key] = found.get(key, 0.0) + float(value)
        self.sizes_at_s.append(round(at_s, 1))
        for key, number in found.items():
            row = self.sizes.setdefault(key, [0.0] * (len(self.sizes_at_s) - 1))
            row += [0.0] * (len(self.sizes_at_s) - 1 - len(row))
            row.append(number)
