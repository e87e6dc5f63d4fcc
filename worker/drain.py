"""DrainFlag: how the worker's main process tells the process that analyses to stop within a batch."""

import mmap

__all__ = ["DrainFlag"]


class DrainFlag:
    """Raised once by a process, seen by all that were forked from it since the flag was made.

    A byte of shared memory: an Event has a lock, and a process killed while it holds that would block all others.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Raise the flag."""
        self._memory[0] = 1

    def is_set(self) -> bool:
        """Whether it was raised."""
        return bool(self._memory[0])
