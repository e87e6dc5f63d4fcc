"""The hang switch: ends a process that gives no sign of progress for too long, whatever it is stuck in.

One process works and gives the signs, its parent looks and kills. Within the working process nothing would be reliable:
it may hang in native code that keeps the interpreter's lock, wait for ever for the start of a thread for which there
was no memory, or be stopped altogether. SIGKILL ends all of these.
"""

import contextlib
import faulthandler
import logging
import mmap
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["HangSwitch"]

_DUMP_SECONDS = 1.0
"""For the process to write its stacks into the log, before it is killed."""

logger = logging.getLogger(__name__)


class HangSwitch:
    """Made before the fork: the child arms it and puts it off, the parent looks."""

    def __init__(self, seconds: float) -> None:
        """Bind.

        Args:
            seconds: Longest time without a sign of progress.
        """
        self._seconds = seconds
        # Shared: the armed process, 0 for none; and when it must have given a sign, by the clock that all processes of
        # a machine have in common. No lock, as whoever holds one may be the process that hangs.
        self._cells = memoryview(mmap.mmap(-1, 16)).cast("d")

    @contextmanager
    def armed(self, *, first_seconds: float | None = None) -> Iterator[None]:
        """Be armed inside the context.

        Args:
            first_seconds: Longest time until the first sign, where that may take longer than between two.
        """
        faulthandler.register(signal.SIGUSR2, all_threads=True)
        self._cells[1] = time.monotonic() + (first_seconds or self._seconds)
        self._cells[0] = os.getpid()
        try:
            yield
        finally:
            self._cells[0] = 0

    def put_off(self) -> None:
        """Give a sign: the time starts anew. Costs nothing, and may be called by any thread."""
        self._cells[1] = time.monotonic() + self._seconds

    def look(self) -> None:
        """Kill the child that armed this switch if it is overdue; its stacks stand in the log if it can write them."""
        process_id, deadline = int(self._cells[0]), self._cells[1]
        if process_id == 0 or time.monotonic() <= deadline:
            return
        self._cells[0] = 0
        if not _is_child(process_id):  # it died while it was armed, and its number may be another's by now
            return
        logger.error("process %d gave no sign of progress in time: ending it", process_id)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGUSR2)
            time.sleep(_DUMP_SECONDS)
            if _is_child(process_id):
                os.kill(process_id, signal.SIGKILL)


def _is_child(process_id: int) -> bool:
    try:
        os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
