"""Errors of the offline commands; each kind has an exit code that scripts can rely on.

QuantizeError
├── UsageError              2  edit the command line
├── RecipeError             3  edit the recipe, or the gate's policy
├── UnsupportedCheckpoint   4  this checkpoint cannot be quantized
├── PlanViolated            5  the output is not what the recipe promises: nothing was published
├── QualityDropped          6  the gate is red: do not roll this checkpoint out
├── ToolFailed              7  llm-compressor or lmms-eval failed: its own output says why
└── EndpointLost            8  an endpoint stopped answering: the same command goes on where it stopped
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


class QualityDropped(QuantizeError):
    exit_code = 6


class ToolFailed(QuantizeError):
    exit_code = 7


class EndpointLost(QuantizeError):
    exit_code = 8
