"""The errors a user can cause; the command line prints them as one sentence and exits with 2."""


class SimulstError(Exception):
    """Something the user gave cannot be used; the message says what is wrong and what to do."""


class AudioError(SimulstError):
    """A source of audio that cannot be opened or decoded."""


class ModelError(SimulstError):
    """A model that is unknown, unreadable, or lacks what was asked of it."""


class PolicyError(SimulstError):
    """A policy or preset that is unknown, malformed, or does not fit the model."""


class DataError(SimulstError):
    """A dataset, log or recipe that cannot be read."""


class GlossaryError(SimulstError):
    """A glossary that cannot be read, or a model or policy that takes none."""


class EvidenceError(SimulstError):
    """A translator returned evidence that contradicts its own hypothesis (shape, prefix); nothing was committed."""


class DeviceLostError(SimulstError):
    """The GPU computes nothing any more for this process; a new one can use it."""


def loses_device(error: BaseException) -> bool:
    """Whether a process can no longer use its GPU after this error, as CUDA's stick to a process; memory that runs out
    is no such error."""
    known = any(kind.__name__ == "AcceleratorError" for kind in type(error).__mro__)
    return known or (isinstance(error, RuntimeError) and str(error).startswith("CUDA error"))


def first_line(error: BaseException) -> str:
    """What a library says of an error, for the end of a sentence: the first line, or the kind of error without one."""
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]


class MissingPackageError(SimulstError, ModuleNotFoundError):
    """An optional package is not installed; the message says how to get it."""
