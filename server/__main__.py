"""`python -m server` is `fovea`."""

from server.cli import main

main()
