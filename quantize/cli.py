"""`fovea-quantize`: the command line of the offline stage."""

import typer

from quantize import cli_checkpoint, cli_sight

app = typer.Typer(
    help="Make and prove FP8 checkpoints of vision-language models. The vision tower stays as it is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(cli_checkpoint.pull)
app.command()(cli_checkpoint.plan)
app.command()(cli_checkpoint.run)
app.command()(cli_checkpoint.verify)
app.command()(cli_checkpoint.fit)
app.command()(cli_checkpoint.card)
app.command()(cli_checkpoint.push)
app.command()(cli_sight.evaluate)
app.command()(cli_sight.gate)
app.command()(cli_sight.sensitivity)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
