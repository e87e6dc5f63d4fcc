"""One decoder process seen from its parent: given its video, listened to under deadlines, killed when it is done with.

The parent opens the video and hands over the descriptor; the child learns no path. It is not tied to its parent by
PR_SET_PDEATHSIG, because that signal follows the thread that started it, not the process: a child whose parent was
killed ends when it next speaks or waits, at the latest at its limit of processor time.
"""

import json
import logging
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from worker import errors
from worker.decode_messages import HEADER, DecodeRequest, Kind
from worker.decoder_start import start_decoder, start_spare, take_decoder
from worker.safe_decoder import require_safe_decoder

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
"""How often a parent that waits for its child looks at the clock and asks whether to stop."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What decoding one video, or one segment of it, may cost."""

    max_pixels: int = 7680 * 4320
    """Width x height of a frame."""
    max_duration_seconds: float = 4 * 3600.0
    """Of the video."""
    max_frames: int = 900_000
    """Of the video, whether analysed or not."""
    memory_bytes: int = 2 << 30
    """Address space for decoding, on top of the interpreter and the libraries."""
    cpu_seconds: int = 3600
    """Processor time of one decoder process."""
    wall_seconds: float = 3600.0
    """Time that the parent may spend waiting for one decoder process, all waits together."""
    stall_seconds: float = 30.0
    """Time that a decoder process may be silent while the parent waits; a working one gives a sign every second."""
    threads: int = 1
    """Decoding threads. Each multiplies the memory, and the networks want the cores more than the decoder does."""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_duration_seconds", "max_frames", "memory_bytes", "cpu_seconds", "threads"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} above 0, got {getattr(self, name)}")


class DecoderProcess:
    """A running decoder; a context manager that leaves no process behind."""

    def __init__(
        self,
        request: DecodeRequest,
        *,
        limits: DecodeLimits,
        should_stop: Callable[[], bool] | None = None,
        on_sign: Callable[[], object] | None = None,
    ) -> None:
        require_safe_decoder()
        self._request = request
        self._limits = limits
        self._should_stop = should_stop or (lambda: False)
        self._on_sign = on_sign or (lambda: None)
        self._waited_seconds = 0.0
        self._has_started = False
        self._may_restart = True
        self._decoder = take_decoder()
        self._send_request()
        start_spare()  # for the next video, while this one is being decoded

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._decoder.process.pid

    def __enter__(self) -> "DecoderProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._decoder.kill()

    def messages(self) -> Iterator[tuple[Kind, bytes]]:
        """Yield the messages that carry frames or an index, until the child has finished.

        Raises:
            AnalysisError: as the child reports it, or because it died or is too slow.
            IndexMismatchError: the decoder's frames are not the planned ones.
            JobCanceledError: should_stop said so.
            RuntimeError: a bug in the child; the message is its traceback.
        """
        while True:
            code, length = HEADER.unpack(self._read(HEADER.size))
            kind, payload = Kind(code), self._read(length)
            self._on_sign()
            if kind is Kind.FINISHED:
                return
            if kind is Kind.FAILED:
                raise _reported_error(**json.loads(payload))
            if kind is Kind.STARTED:
                self._has_started = True
                _report_sandbox(**json.loads(payload))
            elif kind is not Kind.BEAT:
                yield kind, payload

    def release(self, slot: int) -> None:
        """Give a slot of the shared memory back to the child."""
        self._write(bytes([slot]))

    def _send_request(self) -> None:
        content = self._request.to_bytes()
        with suppress(ConnectionError):  # the child is dead; reading from it says how
            sent = socket.send_fds(self._decoder.control, [content], self._request.descriptors)
            self._decoder.control.sendall(content[sent:])

    def _write(self, content: bytes) -> None:
        with suppress(ConnectionError):  # as above
            self._decoder.control.sendall(content)

    def _read(self, length: int) -> bytes:
        parts, missing = [], length
        while missing:
            stdout = self._decoder.process.stdout
            assert stdout is not None
            self._wait_for(stdout.fileno())
            part = os.read(stdout.fileno(), min(missing, 1 << 20))
            if part:
                parts.append(part)
                missing -= len(part)
            elif self._has_started or not self._may_restart:
                raise self._death()
            else:
                self._restart()
                parts, missing = [], length
        return b"".join(parts)

    def _restart(self) -> None:
        """Put a new process into the place of one that ended before it had read a byte of the video."""
        logger.warning("a decoder process ended with status %s before its start", self._decoder.process.wait())
        self._may_restart = False
        self._decoder.kill()
        self._decoder = start_decoder()
        self._send_request()

    def _wait_for(self, fd: int) -> None:
        """Return when `fd` can be read; only time spent here counts: a busy parent is not the child's fault."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        begin = time.monotonic()
        while not poll.poll(POLL_SECONDS * 1000):
            silent = time.monotonic() - begin
            if silent > self._limits.stall_seconds or self._waited_seconds + silent > self._limits.wall_seconds:
                raise _too_slow()
            if self._should_stop():
                raise errors.JobCanceledError("canceled while decoding")
        self._waited_seconds += time.monotonic() - begin
        if self._waited_seconds > self._limits.wall_seconds:
            raise _too_slow()

    def _death(self) -> Exception:
        status = self._decoder.process.wait()
        if not self._has_started:
            # it has not read a byte of the video yet
            return RuntimeError(f"the decoder process could not start, it ended with status {status}")
        if status == -signal.SIGXCPU:
            return _too_slow()
        logger.warning("the decoder process ended with status %s", status)
        crash = errors.DecoderCrashedError(
            "The decoder broke down on this video. Convert it, for example to H.264 in MP4, and send that."
        )
        crash.was_killed = status == -signal.SIGKILL
        return crash


def open_video(path: Path) -> int:
    """Return a descriptor of the video.

    Raises:
        UploadMissingError: there is no readable file.
        UnsupportedMediaError: it is a directory, a pipe or a device.
    """
    try:
        # without O_NONBLOCK, opening a pipe would wait for its writer
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise errors.UploadMissingError("The video file is not there or cannot be read. Send it again.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise errors.UnsupportedMediaError("This is not a file.")
    return descriptor


def _too_slow() -> errors.DecodeTimeoutError:
    return errors.DecodeTimeoutError("Decoding the video took too long. Send a shorter or smaller version of it.")


_BY_NAME: dict[str, type[Exception]] = {
    cls.__name__: cls for cls in (*errors.AnalysisError.__subclasses__(), errors.IndexMismatchError)
}


def _reported_error(*, error: str, message: str) -> Exception:
    known = _BY_NAME.get(error)
    return known(message) if known else RuntimeError(f"a bug in the decoder process:\n{message}")


_has_warned: list[bool] = []


def _report_sandbox(*, landlock_abi: int) -> None:
    if landlock_abi < 4 and not _has_warned:
        _has_warned.append(True)
        logger.warning(
            "Landlock %s: the decoder process is held by resource limits and whitelists, but not kept from %s",
            f"has ABI {landlock_abi}, expected 4 or more" if landlock_abi else "is not available in this kernel",
            "opening TCP connections" if landlock_abi else "opening files and TCP connections",
        )
