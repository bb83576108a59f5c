"""Errors of the offline commands; each kind has an exit code that scripts can rely on.

QuantizeError
├── UsageError                2  edit the command line
│   └── EndpointAbsent       19  nothing answers there, or not yet with that model: start it, or wait for it
├── RecipeError               3  edit the recipe, the architecture map, or the gate's policy
├── UnsupportedCheckpoint     4  this folder cannot be quantized
│   ├── UnsupportedArchitecture  9  no map says what its parts are: write one
│   ├── AlreadyQuantized     10  start from the original weights
│   ├── WrongDtype           11  its weights are not of a type that the recipe takes
│   ├── DamagedShard         12  a weight file is cut short or no safetensors file: fetch it again
│   └── DamagedIndex         13  the index and the weight files disagree: fetch the checkpoint again
├── PlanViolated              5  the output is not what was promised: nothing was published
├── QualityDropped            6  the gate is red: do not roll this checkpoint out
├── ToolFailed                7  llm-compressor, lmms-eval or vLLM failed: its own output says why
├── EndpointLost              8  an endpoint stopped answering: the same command goes on where it stopped
├── DamagedManifest          16  SHA256SUMS cannot be read or does not belong to its folder
├── DiskError                14  the target is full or read-only: make room, run the same command again
├── PushFailed               17  the other side does not hold what was sent: the same command again
├── PullFailed               18  the source cannot be read, or does not hold what it promises
└── OutputBusy               15  another run is writing there: wait for it, or choose another folder
"""


class QuantizeError(Exception):
    exit_code: int = 1


class UsageError(QuantizeError):
    exit_code = 2


class EndpointAbsent(UsageError):
    exit_code = 19


class RecipeError(QuantizeError):
    exit_code = 3


class UnsupportedCheckpoint(QuantizeError):
    exit_code = 4


class UnsupportedArchitecture(UnsupportedCheckpoint):
    exit_code = 9


class AlreadyQuantized(UnsupportedCheckpoint):
    exit_code = 10


class WrongDtype(UnsupportedCheckpoint):
    exit_code = 11


class DamagedShard(UnsupportedCheckpoint):
    exit_code = 12


class DamagedIndex(UnsupportedCheckpoint):
    exit_code = 13


class PlanViolated(QuantizeError):
    exit_code = 5


class QualityDropped(QuantizeError):
    exit_code = 6


class ToolFailed(QuantizeError):
    exit_code = 7


class EndpointLost(QuantizeError):
    exit_code = 8


class DiskError(QuantizeError):
    exit_code = 14


class OutputBusy(QuantizeError):
    exit_code = 15


class DamagedManifest(QuantizeError):
    exit_code = 16


class PushFailed(QuantizeError):
    exit_code = 17


class PullFailed(QuantizeError):
    exit_code = 18
