"""The sound of a video on its way into an MP4, inside the muxing process: copied where MP4 holds it, else made AAC.

Its times are moved so that they count from the first shown frame, as all times of this project do; what sounds before
it gets a negative time, which MP4 keeps from the listener by an edit list. Damaged sound is stepped over: it must not
cost anyone the pictures. Imports PyAV and the standard library only.
"""

from collections.abc import Iterator

import av

# PyAV imports these when it meets the first sound; in the sandbox it is too late to read files
import av.audio.codeccontext
import av.audio.fifo
import av.audio.format
import av.audio.frame
import av.audio.layout
import av.audio.resampler
import av.audio.stream
import av.filter
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Discard

from worker.mux_messages import AUDIO_DECODERS, COPIED_CODECS
from worker.video_source import open_container

__all__ = ["AudioTrack"]

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
BITS_PER_CHANNEL = 96_000


class AudioTrack:
    """One stream of sound, read no further than the pictures have come."""

    def __init__(self, source_fd: int, output: OutputContainer, *, start_seconds: float) -> None:
        """Open the source and add a stream to `output`, where there is any sound that can be used."""
        self.outcome = "none"
        """What becomes of the sound: `none`, `copied`, `transcoded`."""
        self._output = output
        self._start_seconds = start_seconds
        self._packets: Iterator[av.Packet[av.AudioStream]] = iter(())
        container = open_container(source_fd, options={"codec_whitelist": ",".join(AUDIO_DECODERS)})
        stream = _choose_stream(container)
        if stream is not None:
            self._packets = self._add(container, stream)
        self._next = next(self._packets, None)

    def mux_until(self, seconds: float | None) -> None:
        """Write the sound up to a time of the output; all that is left where it is None."""
        while self._next is not None:
            packet = self._next
            assert packet.dts is not None, "both ways of making packets set it"
            assert packet.time_base is not None, "as above"
            if seconds is not None and packet.dts * packet.time_base > seconds:
                return
            self._output.mux(packet)
            self._next = next(self._packets, None)

    def _add(self, container: InputContainer, stream: av.AudioStream) -> Iterator["av.Packet[av.AudioStream]"]:
        if stream.codec_context.codec.canonical_name in COPIED_CODECS:
            self.outcome = "copied"
            return self._copy(container, stream, self._output.add_stream_from_template(stream))
        if stream.codec_context.name not in AUDIO_DECODERS:
            return iter(())
        self.outcome = "transcoded"
        rate = min(AAC_RATES, key=lambda known: (known < stream.rate, abs(known - stream.rate)))
        target = self._output.add_stream("aac", rate=rate)
        target.layout = "mono" if stream.channels == 1 else "stereo"
        target.bit_rate = BITS_PER_CHANNEL * target.codec_context.channels
        return self._transcode(container, stream, target)

    def _copy(
        self, container: InputContainer, stream: av.AudioStream, target: av.AudioStream
    ) -> Iterator["av.Packet[av.AudioStream]"]:
        assert stream.time_base is not None, "checked when the stream was chosen"
        shift = round(self._start_seconds / stream.time_base)
        expected, last = None, None
        for packet in _read_packets(container, stream):
            dts = packet.dts if packet.dts is not None else packet.pts if packet.pts is not None else expected
            if dts is None or (last is not None and dts <= last):
                continue  # without a place in time, MP4 cannot hold it
            pts = dts if packet.pts is None else packet.pts
            last, expected = dts, dts + (packet.duration or 0)
            packet.pts, packet.dts = pts - shift, dts - shift
            packet.stream = target
            yield packet

    def _transcode(
        self, container: InputContainer, stream: av.AudioStream, target: av.AudioStream
    ) -> Iterator["av.Packet[av.AudioStream]"]:
        resampler = av.AudioResampler(format="fltp", layout=target.layout, rate=target.rate)
        for packet in _read_packets(container, stream):
            for frame in _decode(stream, packet):
                if frame.pts is not None and frame.time_base:
                    frame.pts -= round(self._start_seconds / frame.time_base)
                try:
                    resampled = resampler.resample(frame)
                except (ValueError, FFmpegError):  # another rate or layout half-way
                    continue
                for part in resampled:
                    yield from target.encode(part)
        yield from target.encode(None)


def _choose_stream(container: InputContainer) -> av.AudioStream | None:
    usable = [
        stream
        for stream in container.streams.audio
        if stream.codec_context is not None and stream.time_base is not None
    ]
    best = container.streams.best("audio")
    chosen = best if best in usable else usable[0] if usable else None
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = Discard.all  # pictures are not even read where the container allows it
    assert chosen is None or isinstance(chosen, av.AudioStream), "only streams of sound were looked at"
    return chosen


def _read_packets(container: InputContainer, stream: av.AudioStream) -> Iterator["av.Packet[av.AudioStream]"]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            return  # the file ends where it cannot be read on
        if packet is None:
            return
        if packet.size:  # PyAV ends with an empty packet
            yield packet


def _decode(stream: av.AudioStream, packet: "av.Packet[av.AudioStream]") -> list[av.AudioFrame]:
    try:
        return stream.codec_context.decode(packet)
    except FFmpegError:
        return []
