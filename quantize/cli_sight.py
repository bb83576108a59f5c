"""`fovea-quantize evaluate, gate, sensitivity`: what quantization costs in sight."""

import os
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from quantize.cli_process import one_line_errors, say
from quantize.errors import QualityDropped, UsageError


def evaluate(
    base: Annotated[str, typer.Option(help="OpenAI base URL of the unquantized model, with /v1.")],
    candidate: Annotated[str, typer.Option(help="OpenAI base URL of the quantized model, with /v1.")],
    base_model: Annotated[str | None, typer.Option(help="Its name there [default: the only one]")] = None,
    candidate_model: Annotated[str | None, typer.Option(help="Its name there [default: the only one]")] = None,
    base_key_env: Annotated[str, typer.Option(help="Environment variable with its API key.")] = "OPENAI_API_KEY",
    candidate_key_env: Annotated[str, typer.Option(help="Likewise.")] = "OPENAI_API_KEY",
    skills: Annotated[str, typer.Option(help="Comma-separated.")] = "attribute,count,spatial,grid,ocr,ground",
    levels: Annotated[str, typer.Option(help="Comma-separated.")] = "easy,medium,hard",
    n: Annotated[int, typer.Option(min=1, help="Questions of each skill at each level.")] = 100,
    seed: Annotated[int | None, typer.Option(help="Other pictures [default: the suite's own seed]")] = None,
    image_dir: Annotated[Path | None, typer.Option(help="Your own pictures, instead of the suite.")] = None,
    questions: Annotated[Path | None, typer.Option(help="Your own questions about them: JSONL.")] = None,
    tasks: Annotated[str, typer.Option(help="Also run these by lmms-eval: mmmu,chartqa,docvqa,...")] = "",
    out: Annotated[Path, typer.Option(help="Folder for answers and reports; an unfinished one is resumed.")] = Path(
        "build/sight"
    ),
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions in flight.")] = 32,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for one answer.")] = 120.0,
    wait: Annotated[
        float,
        typer.Option(min=0, help="Seconds that each endpoint has to come up."),
    ] = 0.0,
) -> None:
    """Ask two endpoints the same questions about the same pictures, and report what the second one lost.

    Writes answers.jsonl, report.json and report.html. Your own questions: one JSON object a line, such as
    {"image": "a.jpg", "question": "...", "answer": "...", "kind": "text", "skill": "invoices"}; kinds are text,
    number, choice (with "choices"), point and box (with "box": [x1, y1, x2, y2], scaled to 0-1000).

    Exit codes: 0 done, 2 usage, 7 lmms-eval failed, 8 an endpoint stopped answering (run again to go on),
    19 an endpoint or its model is not there.
    """
    with one_line_errors():
        run, public_tasks = _evaluation()
        source = _source(skills, levels, n, seed, image_dir, questions)
        sides = (
            run.SideOptions(base, base_model, os.environ.get(base_key_env) or "none"),
            run.SideOptions(candidate, candidate_model, os.environ.get(candidate_key_env) or "none"),
        )
        wanted = _split(tasks)
        if wanted:
            public_tasks.find_lmms_eval(os.environ)
        run.evaluate(*sides, source, out, concurrency, timeout, say, wait)
        if wanted:
            ends = run.find_endpoints(*sides)
            say(public_tasks.make_task_table(public_tasks.run_tasks(ends, wanted, out, None, os.environ, say)))


def gate(
    report: Annotated[Path, typer.Argument(help="report.json of an evaluation.")],
    policy: Annotated[Path | None, typer.Option(help="YAML of thresholds [default: the bundled one, 95 %]")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Write the verdict into this checkpoint's fovea-report.json.")
    ] = None,
) -> None:
    """Decide whether a candidate kept enough of its base's sight.

    A skill passes when the lower end of the 95 % interval of its retention (candidate / base) reaches the
    policy's threshold: too few questions never pass.

    Exit codes: 0 green, 2 usage, 3 policy, 6 red (one line a breach).
    """
    with one_line_errors():
        _evaluation()
        from quantize.evaluate import gate as gates

        read, rules = gates.read_report(report), gates.read_policy(policy or gates.POLICY)
        found = gates.breaches(read, rules)
        if checkpoint is not None:
            say(f"written: {gates.write_verdict(read, rules, found, checkpoint)}")
        if found:
            raise QualityDropped("red\n" + "\n".join(f"  {line}" for line in found))
        say(f"green: {', '.join(dict.fromkeys(group.skill for group in read.groups))}")


def sensitivity(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder, not quantized yet.")],
    calib: Annotated[Path, typer.Option(help="Folder of pictures to measure with.")],
    scheme: Annotated[str, typer.Option(help="What modules are rounded to: fp8, int8 or int4.")] = "fp8",
    question: Annotated[str, typer.Option(help="Asked about every picture.")] = "What is in this picture?",
    most: Annotated[int, typer.Option(min=1, help="Pictures used, by name.")] = 32,
    out: Annotated[Path, typer.Option(help="Folder for the results; an unfinished one is resumed.")] = Path(
        "build/sensitivity"
    ),
) -> None:
    """Round one kind of module at a time, and rank kinds by what that does to image embeddings and answers.

    Runs the model in the environment that has llm-compressor, on a GPU where there is one. Writes kinds.jsonl,
    sensitivity.json and sensitivity.html.

    Exit codes: 0 done, 2 usage, 4 unsupported checkpoint, 7 the measurement failed.
    """
    with one_line_errors():
        _evaluation()
        from quantize import sensitivity as kinds

        if scheme not in ("fp8", "int8", "int4"):
            raise UsageError(f"'{scheme}' is not a scheme: there are fp8, int8, int4")
        pictures = kinds.find_pictures(calib, most)
        results = kinds.measure_sensitivity(model, pictures, question, scheme, out, os.environ, say)
        about = {"model": str(model), "scheme": scheme, "pictures": len(pictures), "question": question}
        kinds.write_results(results, about, out)
        say(kinds.make_table(results))
        say(f"written: {out / 'sensitivity.json'}, {out / 'sensitivity.html'}")


def _evaluation() -> tuple[Any, Any]:
    """The evaluation's modules, which need more than the bare install. Raises UsageError."""
    try:
        from quantize.evaluate import public_tasks, run
    except ModuleNotFoundError as problem:
        raise UsageError(f"{problem.name} is not installed: pip install 'fovea[evaluate]'") from problem
    return run, public_tasks


def _source(
    skills: str, levels: str, n: int, seed: int | None, image_dir: Path | None, questions: Path | None
) -> Any:
    from quantize.evaluate import own_questions, suite
    from quantize.evaluate.questions import SKILLS, Skill
    from quantize.evaluate.scenes import LEVELS, Level

    if (image_dir is None) != (questions is None):
        raise UsageError("--image-dir and --questions go together")
    if image_dir is not None and questions is not None:
        return own_questions.OwnQuestions(questions, image_dir)
    chosen = cast(list[Skill], _known(_split(skills), SKILLS, "skill"))
    wanted = cast(list[Level], _known(_split(levels), LEVELS, "level"))
    return suite.SightSuite(chosen, wanted, n, suite.SEED if seed is None else seed)


def _known(names: list[str], among: tuple[str, ...], what: str) -> list[str]:
    for name in names:
        if name not in among:
            raise UsageError(f"'{name}' is not a {what}: there are {', '.join(among)}")
    if not names:
        raise UsageError(f"no {what} is named: there are {', '.join(among)}")
    return names


def _split(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
