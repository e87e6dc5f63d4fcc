"""The hang switch: ends a process that gives no sign of progress for too long, whatever its threads are stuck in.

A thread of C (faulthandler's), which needs neither the interpreter's lock nor memory: a process may hang in native code
or for ever in the start of a thread for which there was no memory, and then nothing written in Python is reliable.
"""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["HangSwitch"]


class HangSwitch:
    """One for a process: while armed, the process ends with status 1, all stacks in its log, unless it is put off."""

    def __init__(self, seconds: float) -> None:
        """Bind.

        Args:
            seconds: Longest time without a sign of progress.
        """
        self._seconds = seconds

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Be armed inside the context."""
        self.put_off()
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def put_off(self) -> None:
        """Start the time anew."""
        faulthandler.dump_traceback_later(self._seconds, exit=True)
