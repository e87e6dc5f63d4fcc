"""What a caller of `model` may handle.

ModelError
├── ConfigError       a run's TOML file asks for something unknown or impossible
├── DatasetError      a data set on disk is not what its layout promises (file, line, expected and actual)
└── CheckpointError   a checkpoint is missing, damaged or does not fit

The command lines print the message as one line and exit with code 2; none of these carries a bug.
"""

from pathlib import Path


class ModelError(Exception):
    """Base of the tree."""


class ConfigError(ModelError):
    """A run's configuration cannot be used."""


class CheckpointError(ModelError):
    """A checkpoint cannot be used."""


class DatasetError(ModelError):
    """A data set on disk is not what its layout promises."""

    @classmethod
    def at(cls, path: Path | str, *, expected: str, actual: str, line: int | None = None) -> "DatasetError":
        """Build the error of one place in one file; `line` counts from 1, as editors do."""
        place = f"{path}" if line is None else f"{path}, line {line}"
        return cls(f"{place}: expected {expected}, got {actual}")
