"""`fovea-loadtest trace`: what was asked once becomes a file that a scenario replays."""

import itertools
from pathlib import Path
from typing import Annotated

import typer

from loadtest.cli_compare import refuse, say_error
from loadtest.records import RecordsError, read_run
from loadtest.scenario.document import ScenarioError
from loadtest.scenario.recorded import asked_in_log, asked_in_run, make_trace


def trace_command(
    sources: Annotated[list[Path], typer.Argument(help="Runs' folders, or files of a gateway's log in JSON.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("trace.jsonl"),
) -> None:
    """Writes down when what was asked, for a scenario's `arrival: {kind: trace, file: FILE}`.

    Of several sources the first request of all is the beginning. Of a gateway's log its audit lines are read
    (docs/operating.md): times, tenants, pictures by their digests' first letters, numbers of tokens; they hold no
    content. Exit codes: 0, 2 usage.
    """
    try:
        asked = itertools.chain.from_iterable(
            asked_in_run(read_run(source)) if source.is_dir() else asked_in_log(source) for source in sources
        )
        lines = list(make_trace(asked))
        with out.open("xb") as file:
            file.writelines(lines)
    except FileExistsError:
        refuse(f"{out} is there already: name another file with --out")
    except (RecordsError, ScenarioError) as problem:
        refuse(str(problem))
    except OSError as problem:
        refuse(f"{out} cannot be written: {problem.strerror}")
    say_error(f"{out}: {len(lines)} requests")
