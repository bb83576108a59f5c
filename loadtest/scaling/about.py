"""What each growth is, in words: of the page, and of who looks for what grows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class About:
    """`cost` is of `thing`s; `named`: where it grows beyond the bound, why, and what bounds it in production."""

    thing: str
    cost: str
    named: str = ""


CACHES = (
    "not more work (the same calls, of dictionaries alone), but memory that the CPU's caches hold no more. "
    "Bounded by the bytes of host memory that the cache is given; microseconds beside an embedding's milliseconds"
)
ABOUT = {
    "pictures": About(
        "distinct pictures seen", "a request with one of them, in a data URL, drawn smaller and kept (two engines)"
    ),
    "fetched": About("distinct pictures fetched by URL", "a request with one of them"),
    "streams": About(
        "streams under way", "a relayed token, 10 at once in turn, as many a second whatever the number"
    ),
    "tenants": About("tenants, a key with limits each", "a request of one of them"),
    "engines": About("engines", "a request with a picture, for which one is chosen"),
    "looks": About("engines", "one look at one of them, its part of an idle gateway included"),
    "waiting": About("requests waiting in line", "a request that goes through the line"),
    "messages": About("messages in a conversation", "one of the messages, its part of the request included"),
    "together": About("pictures in a request", "one of the pictures, its part of the request included"),
    "memory look-up": About("embeddings in host memory", "to find one, promise it and let it go", CACHES),
    "memory store": About("embeddings in host memory, full", "to take one in, for which another leaves", CACHES),
    "memory tidy": About("embeddings in host memory", "the tidying of each second, where none has expired"),
    "memory pages": About("embeddings of 1 to 16 pages in the arena", "to find pages for one, others giving way"),
    "folder look-up": About("embeddings in a folder", "to find one, read and prove it"),
    "folder store": About(
        "embeddings in a folder, full", "to write one, with its part of the sweeps that make room"
    ),
    "folder scan": About("embeddings in a folder", "one of them in the scan at the start, and of each minute"),
}

# Flat in the table above for each of the things; all of them together are this much, and cannot be less.
TOGETHER = (
    "An engine is chosen by one multiplication for each that is ready (`engines/affinity.py`), and with "
    "pictures two: a pool takes 64 at most by default (`engines.pools.most`).",
    "A connection to an engine is kept for 3 s of silence (`engines/http/connections.py`): where so few requests "
    "meet so many engines that each is silent for longer, a request pays for a new one. Above, none does.",
    "Every engine is looked at every `engines.poll_s` (2 s): its part above times their number.",
    "A folder is walked once a minute by one of the engines that share it, and when it is full by who writes next "
    "(`janitor.py`): then a twentieth is freed, so that an entry that is written pays for twenty that are seen.",
    "The keys file is hashed at every look (`auth.keys_poll_s`), and parsed as a whole when it has changed: 4,096 "
    "keys, 1 MiB at most.",
    "A scrape of the metrics writes a line a series: [what metrics cost](metrics.md).",
)
