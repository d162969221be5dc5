"""Every error a user can cause, each with the exit code that `reasoning-rl` ends with.

    ReasoningRLError        1   anything below
    ├── ConfigError         2   a setting is unknown, of the wrong type, or contradicts another
    ├── DataError           3   a file, a row or a split of the data can't be used
    ├── ModelError          4   a model folder, tokenizer or context length doesn't fit
    ├── VerifierError       5   a verifier can't be found, loaded or called
    ├── EngineError         6   the sampling engine is missing, or holds other weights
    │   └── EngineDied      6   it broke down, or a process of the crew has gone: starting anew may help
    ├── StorageError        7   a folder or file can't be read or written
    ├── RunError            8   a run is missing, incomplete, or belongs to another config
    └── TrainingError       9   a step gave a number that must not reach the weights

Ctrl-C and SIGTERM end with 130 and 143. Messages speak to the person who can act: where, what was found, what would be accepted.
"""


class ReasoningRLError(Exception):
    """The root of all errors that are reported without a traceback."""

    exit_code = 1


class ConfigError(ReasoningRLError):
    exit_code = 2


class DataError(ReasoningRLError):
    exit_code = 3


class ModelError(ReasoningRLError):
    exit_code = 4


class VerifierError(ReasoningRLError):
    exit_code = 5


class EngineError(ReasoningRLError):
    exit_code = 6


class EngineDied(EngineError):  # noqa: N818  # a death, which need not be an error of anybody's
    """Nothing is wrong with what was asked. Whoever raises it can still be closed, and be made anew in the same process."""


class StorageError(ReasoningRLError):
    exit_code = 7


class RunError(ReasoningRLError):
    exit_code = 8


class TrainingError(ReasoningRLError):
    exit_code = 9


def is_out_of_memory(failure: BaseException) -> bool:
    """Python's own error, or one of torch's, which is known by its name: torch may not be here. On a CPU torch has none but the text."""
    return isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(failure)


def first_line(failure: BaseException) -> str:
    r"""Of a library's message, which may run to pages; the name of the error where it says nothing.

    >>> first_line(OSError("no such folder\nmuch more")), first_line(KeyError())
    ('no such folder', 'KeyError')
    """
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0].strip()
