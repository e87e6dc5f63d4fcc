"""Child processes of the one-command service: started so that none outlives its parent, stopped politely first.

A child leads a session of its own, so that Ctrl-C in the terminal reaches only the parent, which then stops its
children in the right order; and the kernel sends it SIGTERM should the parent die without stopping it (prctl(2), on
Linux; sent when the thread that started the child ends, so children are started from the main thread).
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

__all__ = ["sigterm_as_interrupt", "start_process", "stop_process", "tail_text"]

_PR_SET_PDEATHSIG = 1


def start_process(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    standard_input: bytes | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that logs to a file and dies with this process.

    Args:
        command: Program and arguments.
        log: File that receives standard output and error, appended.
        environment: Variables added to this process's own.
        directory: Working directory of the child.
        standard_input: What the child reads; nothing by default. Must fit into a pipe's buffer (64 KiB).
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
            preexec_fn=_create_death_signal(os.getpid()) if sys.platform == "linux" else None,
        )
    if process.stdin is not None and standard_input is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # a dead child is found by whoever waits
            pipe.write(standard_input)
    return process


def stop_process(process: subprocess.Popen[bytes], *, grace_seconds: float) -> None:
    """Ask a child to end with SIGTERM; after the grace time, or a second Ctrl-C, kill it and all that it started."""
    try:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace_seconds)
    finally:
        # the group's leader is gone or hangs: nothing else of the group may stay behind
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the main thread as Ctrl-C does, so that every child is stopped on the way out."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def tail_text(log: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log, for the sentence that explains why a child failed."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _create_death_signal(parent: int) -> "_DeathSignal":
    # the library is loaded here: after fork() only async-signal-safe work is allowed
    return _DeathSignal(ctypes.CDLL(None, use_errno=True), parent)


class _DeathSignal:
    """Runs between fork and exec: asks the kernel for SIGTERM at the parent's death."""

    def __init__(self, libc: ctypes.CDLL, parent: int) -> None:
        self._libc = libc
        self._parent = parent

    def __call__(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self._parent:  # it died before the request
            os._exit(1)
