"""The muxing process: puts encoded pictures and the source's sound into one MP4, inside worker.sandbox.

Run as `python -m worker.mux_child` by worker.mux_process. Copying sound means parsing the untrusted file once more, and
its packets pass through the muxer: so both happen here, in a process that can open nothing and whose only way out is
the one file that it was handed. The pictures come from the parent, which has encoded them itself.
"""

import os
import traceback
from fractions import Fraction

import av
from av.container import OutputContainer

from worker.audio_track import AudioTrack
from worker.decode_child import Channel
from worker.decode_messages import Kind
from worker.mux_messages import PACKET, MuxRequest
from worker.sandbox import enter_sandbox
from worker.video_source import VideoError


class _Output:
    """The output file as PyAV wants it; a Python file object would not do, because its name is a number."""

    name = "output"

    def __init__(self, descriptor: int, channel: Channel) -> None:
        self._descriptor = descriptor
        self._channel = channel
        self.is_finishing = False
        """Only then does the parent listen: signs of life sent before would fill a pipe that nobody reads."""

    def write(self, content: bytes) -> int:
        if self.is_finishing:
            self._channel.beat()
        left = memoryview(content)
        while left:
            left = left[os.write(self._descriptor, left) :]
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


def _mux(channel: Channel, request: MuxRequest, *, source_fd: int, output_fd: int) -> str:
    """Write the whole file; return what became of the sound."""
    time_base = Fraction(*request.time_base)
    file = _Output(output_fd, channel)
    output = av.open(file, "w", format="mp4")
    output.metadata.update(request.metadata)
    pictures = output.add_mux_stream(
        request.codec,
        rate=Fraction(*request.frame_rate),
        width=request.width,
        height=request.height,
        time_base=time_base,
    )
    audio = AudioTrack(source_fd, output, start_seconds=request.start_seconds)
    while (packet := _receive_packet(channel, pictures, time_base)) is not None:
        assert packet.dts is not None, "the parent's packets carry it"
        audio.mux_until(float(packet.dts * time_base))
        output.mux(packet)
    file.is_finishing = True
    audio.mux_until(None)
    _close(output)
    return audio.outcome


def _receive_packet(
    channel: Channel, stream: av.stream.Stream, time_base: Fraction
) -> "av.Packet[av.stream.Stream] | None":
    pts, dts, duration, is_keyframe, length = PACKET.unpack(channel.receive(PACKET.size))
    if not length:
        return None
    packet = av.Packet(channel.receive(length))
    packet.stream = stream
    packet.time_base = time_base
    packet.pts, packet.dts, packet.duration = pts, dts, duration
    packet.is_keyframe = bool(is_keyframe)
    return packet


def _close(output: OutputContainer) -> None:
    output.start_encoding()  # a file without a single packet is still a file
    output.close()


def main() -> None:
    """Serve one request and exit."""
    channel = Channel()
    content, (source_fd, output_fd) = channel.receive_request()
    request = MuxRequest.from_bytes(content)
    report = enter_sandbox(
        memory_bytes=request.memory_bytes, cpu_seconds=request.cpu_seconds, file_bytes=request.file_bytes
    )
    channel.send_json(Kind.STARTED, landlock_abi=report.landlock_abi)
    try:
        outcome = _mux(channel, request, source_fd=source_fd, output_fd=output_fd)
    except VideoError as error:
        channel.send_json(Kind.FAILED, error=error.error, message=str(error))
    except OSError as error:  # no room on the disk, for instance
        channel.send_json(Kind.FAILED, error="OSError", message=str(error))
    except MemoryError:
        channel.send_json(Kind.FAILED, error="OSError", message="the sound takes more memory than is allowed")
    except Exception:
        channel.send_json(Kind.FAILED, error="bug", message=traceback.format_exc())
    else:
        channel.send_json(Kind.FINISHED, audio=outcome)


if __name__ == "__main__":
    main()
