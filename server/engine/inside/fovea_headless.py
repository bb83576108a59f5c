"""`python -m fovea_headless`: vLLM's workers on one node of several, as `vllm serve --headless` runs them.

Started by server/engine/launch.py in vLLM's own environment: vLLM's server module knows no such nodes, and its
console script is not in every build.
"""

from vllm.entrypoints.cli.serve import run_headless
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.serve.utils.api_utils import cli_env_setup
from vllm.utils.argparse_utils import FlexibleArgumentParser


def main() -> None:
    cli_env_setup()
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args()
    validate_parsed_serve_args(arguments)
    arguments.api_server_count = 0
    run_headless(arguments)


if __name__ == "__main__":
    main()
