"""The tier in a folder, local or shared: what is here survives the engine and serves its neighbours.

Any number of threads, processes and (as far as the file system has locks) machines use one folder. An entry appears
whole or not at all; what is read is served only when it proves right; every failure is a miss that is counted.
"""

import os
import threading
import time
from collections import Counter
from pathlib import Path

from server.engine.encoder_cache.complaints import Complaints
from server.engine.encoder_cache.entry import BadEntry, Embedding, read_header
from server.engine.encoder_cache.entry_file import open_file, read_open_file, reason_of, remove
from server.engine.encoder_cache.folder_layout import (
    KEY,
    WAY_OF_ENTRIES,
    Shelf,
    entry_path,
    make_folders,
    namespaces,
    short,
)
from server.engine.encoder_cache.folder_writing import LOCK_WAIT_S, Place, is_kept, publish
from server.engine.encoder_cache.forgotten import News, forget_entry
from server.engine.encoder_cache.ghosts import Ghosts
from server.engine.encoder_cache.janitor import expire, is_open_to_others, mark_used, sweep
from server.engine.encoder_cache.ledger import Sums, open_ledger
from server.engine.encoder_cache.tier import TierFigures, TierName

SWEEP_EVERY_S = 60.0
TOUCH_EVERY_S = 60.0


class FolderTier:
    """Nothing here raises. Files are 0600, folders 0700, and nothing is written or removed but by names of ours."""

    def __init__(
        self,
        root: Path,
        namespace: str,
        capacity_bytes: int,
        ttl_s: float | None = None,
        name: TierName = "disk",
    ) -> None:
        self.place = Place(str(root), namespace, capacity_bytes, ttl_s)
        self.name: TierName = name
        self.figures = TierFigures()
        self.counting = threading.Lock()
        self.complaints = Complaints(f"embeddings in {root}")
        self.news = News(self.place.root, namespace)
        self.ghosts = Ghosts(self.place.root, namespace)
        self.closed = threading.Event()
        self.janitor = threading.Thread(target=self.keep_tidy, name="fovea-embeddings-janitor", daemon=True)
        self.janitor.start()

    def get(self, key: str) -> Embedding | None:
        started = time.perf_counter()
        embedding = self.find(key) if KEY.fullmatch(key) else None
        with self.counting:
            if embedding is None:
                self.figures.misses += 1
            else:
                self.figures.hits += 1
                self.figures.bytes_read += len(embedding.data)
            self.figures.seconds_read += time.perf_counter() - started
        return embedding

    def find(self, key: str) -> Embedding | None:
        failed: set[Shelf] = set()
        for shelf in WAY_OF_ENTRIES:
            if shelf in failed:
                continue
            path = entry_path(self.place.root, self.place.namespace, shelf, key)
            try:
                return self.read(path, shelf, key)
            except FileNotFoundError:
                continue
            except BadEntry as problem:
                failed.add(shelf)
                self.count(self.figures.bad, problem.reason, key)
                if problem.reason != "version":  # Another version of ours may still want it.
                    remove(path)
            except OSError as problem:
                failed.add(shelf)
                self.count(self.figures.bad, reason_of(problem), key)
                if reason_of(problem) == "not_a_file":
                    remove(path)
            except MemoryError:
                self.count(self.figures.failures, "memory", key)
        return None

    def read(self, path: str, shelf: Shelf, key: str) -> Embedding | None:
        """None for one that is over. Raises OSError, BadEntry, MemoryError."""
        fd, status = open_file(path, self.place.largest_bytes)
        try:
            embedding = read_open_file(fd, status.st_size, self.place.namespace, key)
            if self.place.is_over(key, embedding.created_s):
                remove(path)
                return None
            self.note_hit(fd, path, shelf, key, status.st_mtime)
        finally:
            os.close(fd)
        return embedding

    def note_hit(self, fd: int, path: str, shelf: Shelf, key: str, changed_s: float) -> None:
        """The first moves it among what is kept; later ones are noted once a minute."""
        if shelf != "new" and abs(time.time() - changed_s) <= TOUCH_EVERY_S:
            return
        try:
            if shelf == "new":
                make_folders(self.place.root, short(self.place.namespace), "kept", key[:2])
                os.rename(path, entry_path(self.place.root, self.place.namespace, "kept", key))
            os.utime(fd)
        except FileNotFoundError:
            return  # Evicted, or moved by another reader.
        except OSError as problem:
            self.count(self.figures.failures, reason_of(problem), key)

    def put(self, key: str, header: bytes, payload: memoryview) -> bool:
        started = time.perf_counter()
        try:
            told = read_header(header, self.place.namespace, key)
            if told.payload_bytes != payload.nbytes:
                raise BadEntry("truncated")
            return self.keep(key, header, payload.cast("B"))
        except BadEntry as problem:
            self.count(self.figures.failures, problem.reason, key)
        except OSError as problem:
            self.count(self.figures.failures, reason_of(problem), key)
        finally:
            with self.counting:
                self.figures.seconds_written += time.perf_counter() - started
        return False

    def keep(self, key: str, header: bytes, payload: memoryview) -> bool:
        """Raises OSError."""
        told = read_header(header)
        if self.place.is_over(key, told.created_s):
            return False
        if is_kept(self.place, key, told):
            return True
        reserved = publish(self.place, key, header, payload, "kept" if key in self.ghosts else "new")
        self.note(reserved.sums, reserved.evicted)
        with self.counting:
            self.figures.bytes_written += len(payload)
        if not self.place.is_over(key, told.created_s):
            return True
        # Forgotten while it was being written.
        for shelf in WAY_OF_ENTRIES:
            remove(entry_path(self.place.root, self.place.namespace, shelf, key))
        return False

    def forget(self, key: str) -> bool:
        """In every namespace: what other towers saw of a picture goes with it."""
        if not KEY.fullmatch(key):
            return True
        try:
            for namespace in {short(self.place.namespace), *namespaces(self.place.root)}:
                forget_entry(self.place.root, namespace, key)
        except OSError as problem:
            self.count(self.figures.failures, reason_of(problem), key)
            return False
        return True

    def forgotten_since(self, when_s: float) -> list[str]:
        """Keys that anybody forgot, first seen here at `when_s` (of time.time) or later. For one thread."""
        return self.news.since(when_s)

    def close(self) -> None:
        self.closed.set()
        self.janitor.join(LOCK_WAIT_S)

    def keep_tidy(self) -> None:
        self.tidy()
        while not self.closed.wait(SWEEP_EVERY_S):
            self.tidy()

    def tidy(self) -> None:
        """Sees to it that somebody has swept within the last minute, and learns what is held."""
        place = self.place
        try:
            mark_used(place.root, place.namespace)
            if place.ttl_s is not None:
                expire(place.root, place.namespace, place.ttl_s)
            if is_open_to_others(place.root, place.namespace):
                self.complaints.tell("others may write to it, and so choose what the model sees")
            with open_ledger(place.root, LOCK_WAIT_S) as ledger:
                sums, evicted = ledger.read(), 0
                is_recent = sums is not None and 0 <= time.time() - sums.swept_s < SWEEP_EVERY_S
                if sums is None or not is_recent or sums.used_bytes > place.capacity_bytes:
                    swept = sweep(place.root, ledger, place.capacity_bytes)
                    sums, evicted = swept.sums, swept.evicted
        except OSError as problem:
            self.count(self.figures.failures, reason_of(problem))
            return
        self.note(sums, evicted)

    def note(self, sums: Sums, evicted: int) -> None:
        with self.counting:
            self.figures.entries, self.figures.bytes_held = sums.entries, sums.used_bytes
            self.figures.evictions += evicted

    def count(self, counter: Counter[str], reason: str, key: str = "") -> None:
        with self.counting:
            counter[reason] += 1
        self.complaints.tell(reason, key[:12])
