"""`python -m server` is `fovea`. What is run every few seconds does not wait for the imports of all the rest."""

import sys


def main() -> None:
    if sys.argv[1:2] == ["healthcheck"]:
        from server.healthcheck import main as healthcheck

        sys.exit(healthcheck(sys.argv[2:]))
    from server.cli import main as cli

    cli()


if __name__ == "__main__":
    main()
