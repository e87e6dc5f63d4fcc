"""Files that take the place of what is there when they are whole; what must not be replaced is written as it is."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Replacement", "plan_replacement"]

_NAMES_OF_OPEN_FILES = ("/dev/", "/proc/")
"""/dev/stdout may lead to an ordinary file, but the name is the system's."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A file to be written, and the place that it takes afterwards."""

    part: Path
    place: Path

    def commit(self) -> None:
        """Give the file its name."""
        self.part.replace(self.place)

    def discard(self) -> None:
        """Remove a file that did not get its name."""
        self.part.unlink(missing_ok=True)


def plan_replacement(path: Path) -> Replacement | None:
    """Return where to write a file; None for a device or a pipe, which is written as it is.

    A link stays, and what it leads to is replaced.
    """
    if (path.exists() and not path.is_file()) or os.path.abspath(path).startswith(_NAMES_OF_OPEN_FILES):
        return None
    place = path.resolve()
    # a name of its own: others may write the same file; the suffix stays, it says what a figure is drawn as
    return Replacement(place.with_name(f".{secrets.token_hex(4)}.{place.name}"), place)
