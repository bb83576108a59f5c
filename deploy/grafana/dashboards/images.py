"""Images: what arrives, where time goes, and which tier spares the encoder its work.

Long, since it is data: a dashboard is one file.
"""

from deploy.grafana.board import Board, Row, engines, models
from deploy.grafana.expressions import IN_ENGINE, mean, quantile, rate
from deploy.grafana.panels import Limits, Query, figure, trend

HITS = 'outcome=~"hit.*"'
FOUND = f'{IN_ENGINE},result=~"hit.*"'


def quantiles(histogram: str) -> list[Query]:
    return [Query(quantile(share, histogram), f"p{share * 100:g}") for share in (0.5, 0.95)]


def share(part: str, whole: str) -> str:
    return f"{part} / {whole}"


GLANCE = Row(
    "At a glance",
    [
        figure("Images", "Accepted in a second.", "ops", Query(rate("fovea_images_total"))),
        figure(
            "Found in a cache",
            "Of images whose engine told where it had the embedding from, those that it did not encode again.",
            "percentunit",
            Query(share(rate("fovea_images_by_cache_total", selector=HITS), rate("fovea_images_by_cache_total"))),
            decimals=1,
        ),
        figure(
            "Sent home",
            "Of requests with images and a choice of engines, those that went to the engine that has seen them.",
            "percentunit",
            Query(
                share(
                    rate("fovea_affinity_total", selector='outcome="home"'),
                    rate("fovea_affinity_total", selector='outcome=~"home|spilled"'),
                )
            ),
            limits=Limits(0.8, 0.5, low=True),
            decimals=1,
        ),
        figure(
            "Bytes not sent",
            "In a second: of requests whose images engines were sent by name only.",
            "Bps",
            Query(rate("fovea_image_bytes_not_sent_total")),
        ),
        figure(
            "To checked bytes",
            "The 95th percentile of fetching, checking and naming one image.",
            "s",
            Query(quantile(0.95, "fovea_image_resolve_seconds")),
            limits=Limits(1, 5),
        ),
        figure(
            "Embedding cache on",
            "In the fewest of the engines that have one: 0 once one has turned itself off, and its log says why.",
            "none",
            Query(f"min(fovea_encoder_cache_on{{{IN_ENGINE}}})"),
            limits=Limits(1, 0.5, low=True),
        ),
    ],
)
ARRIVES = Row(
    "What arrives",
    [
        trend(
            "By source",
            "Images accepted in a second: in the request itself, by URL, or uploaded before.",
            "ops",
            Query(rate("fovea_images_total", "source"), "{{source}}"),
            stacked=True,
        ),
        trend(
            "By format",
            "Images accepted in a second.",
            "ops",
            Query(rate("fovea_images_total", "format"), "{{format}}"),
            stacked=True,
        ),
        trend(
            "Videos",
            "Accepted in a second, by their source and format.",
            "ops",
            Query(rate("fovea_videos_total", "source,format"), "{{source}} {{format}}"),
            stacked=True,
        ),
        trend("Bytes of an image", "As it came.", "bytes", *quantiles("fovea_image_bytes")),
        trend(
            "Pixels of an image",
            "As it came: what makes the encoder's work, up to the most that the model takes.",
            "short",
            *quantiles("fovea_image_pixels"),
        ),
        trend(
            "Tokens of a request's images",
            "What they take of the context, of the KV cache, and of limits.",
            "short",
            *quantiles("fovea_image_tokens"),
        ),
        trend(
            "Fetches by URL",
            "fetched: anew; revalidated and cached: no bytes again; shared with one under way; failed: the host's "
            "fault mostly.",
            "ops",
            Query(rate("fovea_image_fetches_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        trend(
            "Changed for engines",
            "Images that engines were sent otherwise than they came, by what was changed.",
            "ops",
            Query(rate("fovea_image_renditions_total", "change"), "{{change}}"),
            stacked=True,
        ),
        trend(
            "Uploads",
            "Files stored, refused, failed, or left by their caller, in a second.",
            "ops",
            Query(rate("fovea_files_uploads_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
    ],
)
TIME = Row(
    "Where time goes",
    [
        trend(
            "Stages, mean",
            "Of one image on its way through the gateway, one above the other.",
            "s",
            Query(mean("fovea_image_stage_seconds", "stage"), "{{stage}}"),
            stacked=True,
        ),
        trend(
            "Stages, 95th percentile",
            "fetch depends on others' hosts; check, decode and digest on the gateway's cores.",
            "s",
            Query(quantile(0.95, "fovea_image_stage_seconds", "stage"), "{{stage}}"),
        ),
        trend(
            "From source to checked bytes",
            "The 95th percentile of all stages together.",
            "s",
            Query(quantile(0.95, "fovea_image_resolve_seconds", "source"), "{{source}}"),
        ),
    ],
)
TIERS = Row(
    "Cache tiers",
    [
        trend(
            "Where embeddings came from",
            "Images a second: the engine's own memory (gpu), host memory, disk, the shared store, or the encoder "
            "(miss).",
            "ops",
            Query(rate("fovea_images_by_cache_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        trend(
            "Looked up beyond the engine's own memory",
            "Pictures a second whose embedding vLLM had not itself: found in a tier, or encoded (miss).",
            "ops",
            Query(rate("fovea_encoder_cache_lookups_total", "result", IN_ENGINE), "{{result}}"),
            stacked=True,
        ),
        trend(
            "Found, of those looked up",
            "By engine. Low for long: pictures that do not come again, or tiers that are too small.",
            "percentunit",
            Query(
                share(
                    rate("fovea_encoder_cache_lookups_total", "engine", FOUND),
                    rate("fovea_encoder_cache_lookups_total", "engine", IN_ENGINE),
                ),
                "{{engine}}",
            ),
            most=1,
        ),
        trend(
            "Held, bytes",
            "By tier, of all engines. A folder or store that engines share is counted by each.",
            "bytes",
            Query(f"sum by (tier) (fovea_encoder_cache_bytes{{{IN_ENGINE}}})", "{{tier}}"),
        ),
        trend(
            "Held, embeddings",
            "By tier, of all engines.",
            "short",
            Query(f"sum by (tier) (fovea_encoder_cache_entries{{{IN_ENGINE}}})", "{{tier}}"),
        ),
        trend(
            "Read",
            "Bytes a second, by tier; of host, by workers into vLLM's memory.",
            "Bps",
            Query(rate("fovea_encoder_cache_read_bytes_total", "tier", IN_ENGINE), "{{tier}}"),
        ),
        trend(
            "Written",
            "Bytes a second, by tier.",
            "Bps",
            Query(rate("fovea_encoder_cache_written_bytes_total", "tier", IN_ENGINE), "{{tier}}"),
        ),
        trend(
            "Lost",
            "Embeddings a second that were not written, since too much was waiting: disk or store are slow.",
            "ops",
            Query(rate("fovea_encoder_cache_dropped_total", "queue", IN_ENGINE), "dropped: {{queue}}"),
        ),
        trend(
            "Went wrong",
            "By tier and reason. Anything damaged has an alert; too late and no room are signs of load.",
            "ops",
            Query(rate("fovea_encoder_cache_errors_total", "tier,reason", IN_ENGINE), "{{tier}}: {{reason}}"),
        ),
        trend(
            "Pictures sent by name",
            "Requests a second: hit, or missed and sent again with all bytes.",
            "reqps",
            Query(rate("fovea_hash_first_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        trend(
            "Where requests with images went",
            "home: the engine that has seen them; spilled: another, since that one was full or not ready; none: "
            "no picture, or no choice.",
            "reqps",
            Query(rate("fovea_affinity_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        trend(
            "vLLM's processor cache",
            "The part of pictures that vLLM did not have to resize and normalize again.",
            "percentunit",
            Query(
                share(
                    rate("vllm:mm_cache_hits_total", "engine", IN_ENGINE),
                    rate("vllm:mm_cache_queries_total", "engine", IN_ENGINE),
                ),
                "{{engine}}",
            ),
            most=1,
        ),
    ],
)

IMAGES = Board(
    uid="fovea-images",
    title="Fovea: Images",
    description="What arrives, where its time goes, and which tier spares the encoder its work.",
    rows=(GLANCE, ARRIVES, TIME, TIERS),
    variables=(models(), engines()),
)
