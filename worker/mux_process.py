"""The muxing process seen from its parent: given source and output, fed with encoded pictures, asked how it went."""

import json
import os
import select
import shutil
import socket
import time
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av

from worker import errors
from worker.decode_messages import HEADER, Kind
from worker.decode_process import DecodeLimits, open_video
from worker.decoder_start import start_decoder
from worker.mux_messages import PACKET, MuxRequest

__all__ = ["MuxProcess"]


class MuxProcess:
    """A file that grows by encoded pictures and the source's sound; a context manager that leaves no process behind."""

    def __init__(
        self,
        source: Path,
        output: Path,
        *,
        codec: str,
        size: tuple[int, int],
        frame_rate: Fraction,
        time_base: Fraction,
        start_seconds: float,
        metadata: dict[str, str],
        limits: DecodeLimits,
    ) -> None:
        """Start the process and create `output`, or empty it.

        Raises:
            AnalysisError: The source cannot be read.
            OSError: The output cannot be written.
        """
        self._limits = limits
        width, height = size
        request = MuxRequest(
            codec=codec,
            width=width,
            height=height,
            frame_rate=frame_rate.as_integer_ratio(),
            time_base=time_base.as_integer_ratio(),
            start_seconds=start_seconds,
            metadata=metadata,
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            file_bytes=shutil.disk_usage(output.parent).free,
        )
        with ExitStack() as stack:
            source_fd = open_video(source)
            stack.callback(os.close, source_fd)
            output_fd = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, output_fd)
            self._child = start_decoder("worker.mux_child")
            try:
                self._child.control.settimeout(limits.stall_seconds)
                content = request.to_bytes()
                sent = socket.send_fds(self._child.control, [content], [source_fd, output_fd])
                self._child.control.sendall(content[sent:])
            except BaseException:
                self._child.kill()
                raise

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.process.pid

    def __enter__(self) -> "MuxProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.kill()

    def write(self, packet: "av.Packet[av.VideoStream]") -> None:
        """Add an encoded picture; pictures come in decoding order.

        Raises:
            AnalysisError: The source's sound cannot be read, or the process died or stands still.
            OSError: The output cannot be written.
        """
        assert packet.pts is not None, "encoders give every packet a time"
        assert packet.dts is not None, "as above"
        content = bytes(packet)
        head = PACKET.pack(packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe, len(content))
        self._send(head + content)

    def finish(self) -> str:
        """Write what is left, and return what became of the sound: `none`, `copied` or `transcoded`.

        Raises:
            AnalysisError: As in `write`.
            OSError: The output cannot be written.
        """
        self._send(PACKET.pack(0, 0, 0, 0, 0))
        outcome: str = self._read_end()["audio"]
        return outcome

    def _send(self, content: bytes) -> None:
        try:
            self._child.control.sendall(content)
        except TimeoutError as error:
            raise _too_slow() from error
        except ConnectionError:
            self._read_end()  # the child has ended early, and said why
            raise

    def _read_end(self) -> dict[str, str]:
        """Return what the child says when it has finished; raise what it says when it has failed."""
        while True:
            code, length = HEADER.unpack(self._read(HEADER.size))
            kind, payload = Kind(code), self._read(length)
            if kind is Kind.FINISHED:
                content: dict[str, str] = json.loads(payload)
                return content
            if kind is Kind.FAILED:
                raise _reported_error(**json.loads(payload))

    def _read(self, length: int) -> bytes:
        stdout = self._child.process.stdout
        assert stdout is not None, "it was started with a pipe"
        content = b""
        deadline = time.monotonic() + self._limits.wall_seconds
        while len(content) < length:
            ready, _, _ = select.select(
                [stdout], [], [], max(0.0, min(self._limits.stall_seconds, deadline - time.monotonic()))
            )
            if not ready:
                raise _too_slow()
            part = os.read(stdout.fileno(), length - len(content))
            if not part:
                raise errors.DecoderCrashedError(
                    f"The process that copies the sound broke down (status {self._child.process.wait()})."
                )
            content += part
        return content


def _too_slow() -> errors.DecodeTimeoutError:
    return errors.DecodeTimeoutError("Copying the sound took too long.")


def _reported_error(*, error: str, message: str) -> Exception:
    if error == "OSError":
        return OSError(message)
    if error == "bug":
        return RuntimeError(f"a bug in the muxing process:\n{message}")
    return errors.UnsupportedMediaError(message)
