"""Errors of the offline commands; each kind has an exit code that scripts can rely on.

QuantizeError
├── UsageError              2  edit the command line
├── RecipeError             3  edit the recipe
├── UnsupportedCheckpoint   4  this checkpoint cannot be quantized
├── PlanViolated            5  the output is not what the recipe promises: nothing was published
└── ToolFailed              7  llm-compressor failed: its own output says why
"""


class QuantizeError(Exception):
    exit_code: int = 1


class UsageError(QuantizeError):
    exit_code = 2


class RecipeError(QuantizeError):
    exit_code = 3


class UnsupportedCheckpoint(QuantizeError):
    exit_code = 4


class PlanViolated(QuantizeError):
    exit_code = 5


class ToolFailed(QuantizeError):
    exit_code = 7
