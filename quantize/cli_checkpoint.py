"""`fovea-quantize pull, plan, run, verify, fit, card, push`: from a checkpoint to its quantized child."""

import os
import re
import time
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from quantize.architecture import find_architecture
from quantize.checkpoint import check_source, read_config
from quantize.cli_process import one_line_errors, say
from quantize.errors import PlanViolated, UnsupportedCheckpoint, UsageError
from quantize.fit import Weights
from quantize.manifest import read_report
from quantize.plan import Plan, make_plan
from quantize.recipe import Recipe, bundled_names, read_recipe, recorded_recipe
from quantize.source import find_source


def parse_source(text: str) -> Path:
    try:
        return find_source(text)
    except UsageError as problem:
        raise typer.BadParameter(str(problem)) from problem


Source = Annotated[
    Path,
    typer.Argument(
        help="Checkpoint folder (BF16 or FP16 safetensors), or ORG/NAME on the hub.",
        parser=parse_source,
        metavar="SOURCE",
    ),
]
RecipeOption = Annotated[str, typer.Option(help=f"A bundled recipe ({', '.join(bundled_names())}) or a YAML file.")]
IKnow = Annotated[bool, typer.Option("--i-know", help="Cut sight to 4 bits, if the recipe says so.")]
Map = Annotated[Path | None, typer.Option(help="Architecture map of your own (YAML) [default: by model_type]")]


def plan(
    source: Source,
    recipe: RecipeOption = "fp8-dynamic",
    architecture: Map = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="Also every tensor's fate and its reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, tensors included.")] = False,
    i_know: IKnow = False,
) -> None:
    """Say what a run would do, and how many bytes it would leave: from headers and configs alone.

    Exit codes: 0 done, 2 usage, 3 recipe or map, 4 unsupported checkpoint, 9 unknown architecture, 10 quantized
    already, 11 wrong dtype, 12 damaged weight file, 13 damaged index.
    """
    from quantize import show_plan

    with one_line_errors():
        made = _plan(source, read_recipe(recipe), architecture, i_know)
        say(show_plan.make_json(made) if as_json else show_plan.make_table(made, tensors))


def run(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet, but for --keep.")],
    recipe: RecipeOption = "fp8-dynamic",
    architecture: Map = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="stream (FP8 recipes, a few rows at a time), or llmcompressor. [default: stream where it can]"
        ),
    ] = None,
    calib: Annotated[
        Path | None,
        typer.Option(help="For calibrated recipes: a folder of pictures, *.txt or *.jsonl [default: drawn]"),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=4096, help="How many of them are shown.")] = 128,
    prove: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Prove the result before it is put in place.")
    ] = True,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Threads [default: one a CPU, at most 8]")] = 0,
    i_know: IKnow = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Be content with an OUT that this recipe has made."),
    ] = False,
) -> None:
    """Quantize a checkpoint, prove the result, and put it in place whole or not at all.

    A run that was stopped goes on where it was: the same command again. (llm-compressor cannot: calibrated recipes
    begin anew.)

    Exit codes: those of plan, and 5 output not as promised, 7 llm-compressor failed, 14 disk full or read-only,
    15 another run is writing there.
    """
    from quantize import run as runs
    from quantize import show_plan
    from quantize.calibration import find_samples

    if engine is not None and engine not in get_args(runs.Engine):
        raise typer.BadParameter(f"there are {', '.join(get_args(runs.Engine))}", param_hint="--engine")
    began = time.monotonic()
    with one_line_errors():
        chosen = read_recipe(recipe)
        made = _plan(source, chosen, architecture, i_know)
        writer = runs.choose_engine(chosen, cast(runs.Engine | None, engine))
        if calib is not None and not chosen.calibrated:
            raise UsageError(f"--calib: {chosen.name} is not calibrated")
        if keep and runs.is_made(out, chosen):
            say(f"{out} is there already, made by {chosen.name}")
            return
        shown = find_samples(calib, samples) if chosen.calibrated else None
        say(show_plan.make_table(made, tensors=False))
        threads = workers or min(8, os.cpu_count() or 1)
        findings = runs.run_plan(made, out, writer, threads, prove, os.environ, say, shown)
    for line in show_plan.describe_findings(made, findings):
        say(line)
    say(f"{out} written in {time.monotonic() - began:.0f} s")


def verify(
    source: Source,
    out: Annotated[Path, typer.Argument(help="Folder that `run` wrote.")],
    recipe: Annotated[str | None, typer.Option(help="[default: what the folder's report names]")] = None,
    architecture: Map = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Also load source and result in vLLM and compare what they find likely.")
    ] = False,
) -> None:
    """Prove from the files alone that a checkpoint is what its recipe promises of its source.

    Kept tensors and other files byte for byte, codes and scales against the published arithmetic, the config by
    the parser of the vLLM that is found, every file against SHA256SUMS.

    Exit codes: 0 proved, 5 something differs (one line each), 7 vLLM failed, and those of plan.
    """
    from quantize import served, show_plan
    from quantize import verify as proofs

    with one_line_errors():
        made = _plan(
            source, read_recipe(recipe) if recipe else recorded_recipe(read_report(out), out), architecture
        )
        findings = proofs.verify_weights(made, out)
        found = [*findings.violations, *proofs.verify_files(made, out)]
        if found:
            raise PlanViolated(
                f"{out} is not what {made.recipe.name} promises of {source}:\n  " + "\n  ".join(found)
            )
        for line in show_plan.describe_findings(made, findings):
            say(line)
        say(proofs.parse_config(out, os.environ))
        if serve:
            compared = served.compare_served(source, out, os.environ)
            say(compared.describe())
            if compared.violations:
                raise PlanViolated("; ".join(compared.violations))


def fit(
    source: Source,
    recipe: Annotated[str, typer.Option(help="Recipes, comma-separated; bf16 is the source as it is.")] = "all",
    gpu: Annotated[str, typer.Option(help="GPUs, comma-separated.")] = "all",
    context: Annotated[int, typer.Option(min=1, help="Tokens of the longest conversation.")] = 8192,
    concurrency: Annotated[int, typer.Option(min=1, help="Conversations at once.")] = 8,
    image: Annotated[str, typer.Option(help="The largest picture, as WIDTHxHEIGHT px.")] = "1024x1024",
    kv_dtype: Annotated[str, typer.Option(help="bf16, or fp8 (half the KV cache).")] = "bf16",
    architecture: Map = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON, every term in bytes.")] = False,
) -> None:
    """Say which GPUs a checkpoint fits, quantized by which recipe: weights, KV cache, states, encoder cache.

    From headers and configs alone. Activations and CUDA's share are estimates, the rest is exact arithmetic.

    Exit codes: those of plan.
    """
    from quantize import fit as fits
    from quantize import model_shape, show_fit

    with one_line_errors():
        if kv_dtype not in fits.KV_BYTES:
            raise UsageError(f"--kv-dtype {kv_dtype}: there are {', '.join(fits.KV_BYTES)}")
        wish = fits.Wish(context, concurrency, *_size(image), fits.KV_BYTES[kv_dtype])
        shape = model_shape.read_shape(read_config(source))
        weights = _weights_by_recipe(source, recipe, architecture)
        found = [
            fits.make_fit(each, one, shape, wish)
            for each in fits.read_gpus([] if gpu == "all" else gpu.split(","))
            for one in weights
        ]
        say(show_fit.make_json(found) if as_json else show_fit.make_table(found))


def card(
    out: Annotated[Path, typer.Argument(help="Folder that `run` wrote.")],
    name: Annotated[str | None, typer.Option(help="What to call it [default: the folder's name]")] = None,
    base_model: Annotated[
        str | None, typer.Option(help="The source's id on the hub, such as Qwen/Qwen3.5-9B.")
    ] = None,
) -> None:
    """Write the model card, README.md: recipe, what is kept and why, bytes, proof, sight, how to serve it.

    What heads the README that was there (licence, languages) is kept.

    Exit codes: 0 done, 2 usage.
    """
    from quantize.card import write_card

    with one_line_errors():
        say(f"written: {write_card(out, name or out.resolve().name, base_model)}")


Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Of S3 [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or AWS itself]"),
]


def pull(
    source: Annotated[
        str, typer.Argument(help="hf://ORG/NAME[@REVISION], oci://HOST/NAME:TAG, s3://BUCKET/PREFIX, or a folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    endpoint: Endpoint = None,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Files at once.")] = 4,
) -> None:
    """Bring a checkpoint here from the hub, an OCI registry, a bucket or a folder, and check what arrived.

    It is put in place whole or not at all. Stopped or killed, the same command goes on where it was; where the
    folder is there already, it says so and ends at once. Checked by SHA256SUMS, and by the digests that the place
    itself tells. Tokens and logins are those of push.

    Exit codes: 0 it is there, 2 usage (or DIR is another checkpoint), 4, 12, 13 what is there is no whole
    checkpoint, 14 disk, 15 another pull is writing there, 16 SHA256SUMS is damaged, 18 the source cannot be read.
    """
    from quantize import pull as pulls

    with one_line_errors():
        pulls.pull(source, out, endpoint, workers, say)


def push(
    out: Annotated[Path, typer.Argument(help="Folder that `run` wrote.")],
    destination: Annotated[
        str, typer.Argument(help="A folder, hf://ORG/NAME, oci://HOST/NAME:TAG, or s3://BUCKET/PREFIX.")
    ],
    endpoint: Endpoint = None,
) -> None:
    """Take a finished checkpoint to a folder, the hub, an OCI registry or a bucket, and check there what arrived.

    Nothing leaves that is not what SHA256SUMS describes. The hub's token, the registry's login and the bucket's
    credentials are those that `hf auth login`, `docker login` (or `oras login`) and AWS's variables and files have.
    What is there already is not sent again.

    Exit codes: 0 done, 2 usage, 5 not what SHA256SUMS describes, 14 disk, 17 the other side holds something else.
    """
    from quantize import push as pushes

    with one_line_errors():
        pushes.push(out, pushes.parse_destination(destination, endpoint), say)


def _weights_by_recipe(source: Path, names: str, architecture: Path | None) -> list[Weights]:
    """Bytes that vLLM loads: the head that drafts is left out, as it is without speculative decoding."""
    found = []
    for name in ["bf16", *bundled_names()] if names == "all" else names.split(","):
        recipe = read_recipe(bundled_names()[0] if name == "bf16" else name)
        try:
            loaded = [each for each in _plan(source, recipe, architecture).fates if each.part != "mtp"]
        except UnsupportedCheckpoint as problem:
            if names != "all" or recipe.scheme == "FP8_DYNAMIC":
                raise
            typer.echo(f"{name} is left out: {problem}", err=True)
            continue
        if name == "bf16":
            found.append(Weights(name, None, sum(each.source.size for each in loaded)))
        else:
            found.append(Weights(name, recipe.scheme, sum(each.after for each in loaded)))
    return found


def _size(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", text):
        raise UsageError(f"'{text}' is not a size like 1024x768")
    width, _, height = text.partition("x")
    return int(width), int(height)


def _plan(source: Path, recipe: Recipe, architecture: Path | None, i_know: bool = True) -> Plan:
    if not i_know:
        recipe.check_sight()
    check_source(source)
    return make_plan(source, recipe, find_architecture(read_config(source), architecture))
