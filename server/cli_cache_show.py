"""What `fovea cache`'s commands say: tables for people, JSON for programs."""

import json
import time
from collections import Counter
from collections.abc import Sequence

from server.engine.encoder_cache.archive import Moved
from server.engine.encoder_cache.folder_layout import SHELVES, Found
from server.engine.encoder_cache.folder_survey import NamespaceSums, Pruned, header_of
from server.engine.encoder_cache.janitor import LIVE_S
from server.engine.encoder_cache.ledger import Sums

KEY_DIGITS = 16
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def entries(found: Sequence[Found], total: int, as_json: bool) -> str:
    if as_json:
        return dump({"total": total, "entries": [entry_fields(each) for each in found]})
    rows = [entry_row(each) for each in found]
    lines = [table(("key", "namespace", "shelf", "size", "shape", "as", "last used"), rows)]
    if total > len(found):
        lines.append(f"... and {total - len(found)} more (--limit)")
    return "\n".join(lines)


def entry_fields(each: Found) -> dict[str, object]:
    header = header_of(each)
    fields = {
        "key": each.key,
        "namespace": each.namespace,
        "shelf": each.shelf,
        "bytes": each.size_bytes,
        "used_s": each.changed_s,
    }
    if header is None:
        return {**fields, "is_bad": True}
    about = {"shape": header.shape, "dtype": header.dtype, "encoding": header.encoding}
    return {**fields, "is_bad": False, **about, "created_s": header.created_s}


def entry_row(each: Found) -> tuple[str, ...]:
    header = header_of(each)
    about = ("-", "bad")
    if header is not None:
        about = "x".join(map(str, header.shape)), header.dtype if header.encoding == "raw" else header.encoding
    used = ago(time.time() - each.changed_s)
    return each.key[:KEY_DIGITS], each.namespace, each.shelf, size(each.size_bytes), *about, used


def sums(folder: str, held: Sequence[NamespaceSums], agreed: Sums | None, as_json: bool) -> str:
    now = time.time()
    used = sum(sum(each.bytes.values()) for each in held)
    capacity = agreed.capacity_bytes if agreed else None
    if as_json:
        spaces = [
            {
                "namespace": each.name,
                "fingerprint": each.fingerprint,
                "is_in_use": now - each.used_s < LIVE_S,
                "used_s": each.used_s or None,
                "entries": each.entries,
                "bytes": each.bytes,
                "forgotten": each.forgotten,
            }
            for each in held
        ]
        return dump({"folder": folder, "bytes": used, "capacity_bytes": capacity, "namespaces": spaces})
    rows = [
        (
            each.name,
            *(f"{each.entries[shelf]} ({size(each.bytes[shelf])})" for shelf in SHELVES),
            ago(now - each.used_s) if each.used_s else "never",
            str(each.forgotten),
        )
        for each in held
    ]
    full = f" of {size(capacity)} ({100 * used / capacity:.0f} %)" if capacity else ""
    head = f"{folder}: {sum(sum(each.entries.values()) for each in held)} entries, {size(used)}{full}"
    return f"{head}\n{table(('namespace', *SHELVES, 'engine here', 'deletions'), rows)}"


def verified(found: Sequence[Found], bad: Sequence[tuple[Found, str, bool]], as_json: bool) -> str:
    total = sum(each.size_bytes for each in found)
    if as_json:
        wrong = [
            {"key": each.key, "namespace": each.namespace, "reason": reason, "is_removed": gone}
            for each, reason, gone in bad
        ]
        return dump({"entries": len(found), "bytes": total, "bad": wrong})
    lines = [f"{len(found)} entries, {size(total)}: {len(bad) or 'none'} bad"]
    if bad:
        rows = [(e.key[:KEY_DIGITS], e.namespace, reason, "removed" if gone else "-") for e, reason, gone in bad]
        lines.append(table(("key", "namespace", "reason", ""), rows))
    return "\n".join(lines)


def pruned(gone: Pruned, as_json: bool) -> str:
    if as_json:
        return dump({"entries": gone.entries, "bytes": gone.bytes})
    return f"removed {gone.entries} entries, {size(gone.bytes)}"


def moved(verb: str, what: Moved, as_json: bool) -> str:
    if as_json:
        fields = {"entries": what.entries, "bytes": what.bytes, "already": what.already}
        return dump({verb: fields, "namespace": what.namespace, "refused": what.refused})
    already = f", {what.already} were there" if what.already else ""
    return f"{verb} {what.entries} entries, {size(what.bytes)}{already}{reasons(what.refused)}"


def reasons(refused: Counter[str]) -> str:
    if not refused:
        return ""
    return "; refused " + ", ".join(f"{count} ({reason})" for reason, count in sorted(refused.items()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def size(count: float) -> str:
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def ago(seconds: float) -> str:
    for letter, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{letter} ago"
    return "now"


def dump(fields: dict[str, object]) -> str:
    return json.dumps(fields)
