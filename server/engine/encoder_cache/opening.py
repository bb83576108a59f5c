"""Builds what the connector's halves work with, from the options: the composition root of its processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.engine.encoder_cache.arena import Arena
from server.engine.encoder_cache.folder_tier import FolderTier
from server.engine.encoder_cache.lookups import Lookups
from server.engine.encoder_cache.options import Options, disk_bytes_of, folder_of
from server.engine.encoder_cache.tier import Tier
from server.engine.encoder_cache.write_behind import WriteBehind

# What is only moved nearer can be moved again.
PROMOTING_S = 1.0
# Loggers of what runs in vLLM's processes.
OURS = ("server.engine.encoder_cache", "fovea")


@dataclass(frozen=True, slots=True)
class Writing:
    behind: WriteBehind
    tiers: Sequence[Tier]

    def close(self, timeout_s: float) -> None:
        """What waits to be written is written, if that takes no longer."""
        self.behind.close(timeout_s)
        for tier in self.tiers:
            tier.close()


@dataclass(frozen=True, slots=True)
class Reading:
    arena: Arena
    lookups: Lookups
    promoting: WriteBehind
    tiers: Sequence[Tier]

    def close(self) -> None:
        if self.lookups.close():  # else a thread hangs in a tier, and its memory goes with the process
            self.arena.close()
        self.promoting.close(PROMOTING_S)
        for tier in self.tiers:
            tier.close()


def open_tiers(options: Options, namespace: str, private: bool, environ: Mapping[str, str]) -> list[Tier]:
    """In the order in which they are asked. What is nobody else's stays out of the shared one."""
    folder = folder_of(options, environ)
    ttl_s = options.ttl_s or None
    tiers: list[Tier] = [FolderTier(folder, namespace, disk_bytes_of(options, folder), ttl_s)]
    if options.shared and not private:
        tiers.append(open_shared(options, namespace, ttl_s))
    return tiers


def open_shared(options: Options, namespace: str, ttl_s: float | None) -> Tier:
    if "://" in options.shared:
        # vLLM may be anybody's own, and only this tier needs redis (`options.check_store`).
        from server.engine.encoder_cache.redis_tier import RedisTier

        return RedisTier(options.shared, namespace, options.shared_bytes, ttl_s)
    return FolderTier(Path(options.shared), namespace, options.shared_bytes, ttl_s, name="shared")


def open_writer(options: Options, namespace: str, private: bool, environ: Mapping[str, str]) -> Writing:
    """In the worker that writes."""
    tiers = open_tiers(options, namespace, private, environ)
    behind = WriteBehind(tiers, namespace, options.queue_bytes)
    return Writing(behind, tiers)


def open_reading(
    options: Options, arena: Arena, namespace: str, private: bool, wait_s: float, environ: Mapping[str, str]
) -> Reading:
    """In the scheduler's process. What the shared tier had is written into the folder from here."""
    tiers = open_tiers(options, namespace, private, environ)
    promoting = WriteBehind(tiers[:1], namespace, options.queue_bytes)
    lookups = Lookups(arena, tiers, wait_s, ttl_s=options.ttl_s or None, offer=promoting.offer)
    return Reading(arena, lookups, promoting, tiers)
