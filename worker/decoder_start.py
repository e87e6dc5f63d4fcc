"""How a decoder process is started: with nothing inherited, and, where that was asked for, one ahead of its video.

Starting Python, PyAV and numpy takes longer than decoding a second of small video. So a worker keeps one spare: a
process that has imported everything and waits for the one video that it will ever decode. It holds nothing but the two
ends of its conversation, and ends by itself when the other ends are gone.
"""

import logging
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

__all__ = ["StartedDecoder", "drop_spare", "keep_spare", "start_decoder", "start_spare", "take_decoder"]

logger = logging.getLogger(__name__)

PROJECT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {
    "PYTHONPATH": str(PROJECT),
    "LC_ALL": "C.UTF-8",
    # threads of a linear algebra library that is never used would take address space and defeat Landlock
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # glibc: keep the memory of pictures for the next ones; giving it back and faulting it in again takes 2 ms at 1080p
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    # one arena: each further one reserves address space, of which there is a limit
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True, slots=True)
class StartedDecoder:
    """A decoder process that has been told nothing yet."""

    process: subprocess.Popen[bytes]
    """Its standard output is a pipe of messages."""
    control: socket.socket
    """Carries the request with its descriptors, and then the emptied slots."""

    def kill(self) -> None:
        """End the process, whatever it does, and leave nothing of it."""
        self.process.kill()
        self.control.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()


def start_decoder(module: str = "worker.decode_child") -> StartedDecoder:
    """Start a decoder process: no path, no environment, no descriptor of ours goes with it."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", module],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=ENVIRONMENT,
        )
    return StartedDecoder(process, ours)


class _Spare:
    """At most one decoder process that waits for its video."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_kept = False
        self._waiting: StartedDecoder | None = None

    def keep(self) -> None:
        with self._lock:
            self._is_kept = True
        self.start()

    def drop(self) -> None:
        with self._lock:
            self._is_kept = False
        if (waiting := self.take()) is not None:
            waiting.kill()

    def start(self) -> None:
        with self._lock:
            if self._is_kept and self._waiting is None:
                try:
                    self._waiting = start_decoder()
                except OSError as error:  # no process to be had just now; the next video asks again
                    logger.warning("no spare decoder process: %s", error)

    def take(self) -> StartedDecoder | None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.process.poll() is not None:
            waiting.kill()  # it ended while it waited
            return None
        return waiting


_SPARE = _Spare()
"""Of this process; nothing runs before it is asked to be kept."""


def keep_spare() -> None:
    """Keep one decoder process started ahead, from now on until `drop_spare` or the end of this process."""
    _SPARE.keep()


def drop_spare() -> None:
    """Keep none any more, and end the one that waits."""
    _SPARE.drop()


def take_decoder() -> StartedDecoder:
    """Return the spare process, or a new one where there is none."""
    return _SPARE.take() or start_decoder()


def start_spare() -> None:
    """Start the next spare process, where one is kept and none waits; returns before it is up."""
    _SPARE.start()
