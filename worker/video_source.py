"""The video inside the decoder process: opened under whitelists, packets and frames in file order, damage stepped over.

`max_pixels` and `codec_whitelist` are set twice, for the probe and for the decoder: measured, each place alone leaves
the other open. The video is read through FFmpeg's `fd` protocol, the only one allowed, so that no demuxer can open
anything else even where there is no Landlock. Imports PyAV and the standard library only.
"""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain

import av

# PyAV imports these when it meets the first stream; in the sandbox it is too late to read files
import av.subtitles.codeccontext
import av.subtitles.stream
from av.container import InputContainer
from av.error import FFmpegError

from worker.decode_messages import CODECS, FORMATS, DecodeRequest

EARLIER_SECONDS = (0, 1, 10)
"""How long before a keyframe to aim when seeking: containers without an index, and those that index decoding times, may
land behind the keyframe asked for."""
TOO_MUCH_MEMORY = "Decoding the video takes more memory than is allowed. Send a smaller version of it."


class VideoError(Exception):
    """The video cannot be used; names a class in worker.errors, which is too slow to import in the decoder process."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


def open_container(video_fd: int, *, options: dict[str, str]) -> InputContainer:
    """Open a file under the whitelists of containers and protocols; `options` are those of the probe.

    Raises:
        VideoError: It is none of the supported kinds, or probing it takes too much memory.
    """
    os.lseek(video_fd, 0, os.SEEK_SET)  # the descriptor's position outlives the container that moved it
    try:
        return av.open(
            "fd:",
            options={
                **options,
                "fd": str(video_fd),
                "protocol_whitelist": "fd",
                "format_whitelist": ",".join(FORMATS),
            },
            metadata_errors="ignore",
        )
    except MemoryError as error:
        raise VideoError("TooManyPixelsError", TOO_MUCH_MEMORY) from error
    except FFmpegError as error:
        raise VideoError(
            "UnsupportedMediaError",
            "The file is not a video of a supported kind, or its beginning is damaged. "
            "Send MP4, MOV, WebM, MKV, AVI, MPEG, FLV, Ogg or GIF.",
        ) from error


class OpenVideo:
    """One container opened at its start, and the stream that a viewer would call the video."""

    def __init__(self, request: DecodeRequest, on_step: Callable[[], None]) -> None:
        """Open the video of `request`; `on_step` is called with every packet read."""
        options = {"max_pixels": str(request.max_pixels), "codec_whitelist": ",".join(CODECS)}
        self._container = open_container(request.video_fd, options=options)
        self._stream = self._choose_stream()
        self._stream.codec_context.options = options
        self._stream.codec_context.thread_count = request.threads
        if request.threads > 1:
            self._stream.codec_context.thread_type = "AUTO"
        self._max_pixels = request.max_pixels
        self.pixels = self._stream.codec_context.width * self._stream.codec_context.height
        """Size of a picture as the header says, 0 where it does not; a decoder that refuses it forgets it."""
        self._on_step = on_step
        self.is_damaged = False
        """Whether anything read so far could not be decoded, or only in part."""

    def _choose_stream(self) -> av.VideoStream:
        pictures = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & av.stream.Disposition.attached_pic
        ]
        if not pictures:
            raise VideoError("NoVideoStreamError", "The file holds no video, only sound or still pictures.")
        stream = pictures[0]
        # no decoder at all: PyAV's types do not say so
        name = stream.codec_context.name if stream.codec_context is not None else "unknown or encrypted"
        if name not in CODECS:
            raise VideoError(
                "UnsupportedMediaError", f"The video's codec ({name}) is not supported. Convert it to H.264."
            )
        if not stream.time_base:
            raise VideoError("UndecodableError", "The video has no clock: it cannot be said when its frames are shown.")
        return stream

    @property
    def time_base(self) -> Fraction:
        """Seconds in one unit of pts."""
        assert self._stream.time_base is not None  # checked when the stream was chosen
        return self._stream.time_base

    @property
    def frame_seconds(self) -> Fraction:
        """Average duration of a frame according to the header, where it says anything sensible."""
        rate = self._stream.average_rate
        return 1 / rate if rate else Fraction(1, 25)

    @property
    def container_name(self) -> str:
        """Name of the demuxer."""
        return self._container.format.name

    @property
    def codec(self) -> str:
        """Name of the codec, whichever decoder it is: `av1`, not `libdav1d`."""
        return self._stream.codec_context.codec.canonical_name

    def seek(self, pts: int) -> bool:
        """Move to a keyframe at or before `pts`, as far as the container can; return whether it could."""
        try:
            self._container.seek(pts, stream=self._stream)
        except FFmpegError:
            return False
        return True

    def packets(self) -> Iterator["av.Packet[av.VideoStream]"]:
        """Yield the stream's packets in file order; the file ends where it cannot be read on."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except MemoryError as error:
                raise VideoError("TooManyPixelsError", TOO_MUCH_MEMORY) from error
            except FFmpegError:
                self.is_damaged = True
                return
            if packet is None:
                return
            self._on_step()
            if packet.size:  # PyAV ends with an empty packet
                yield packet

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the decoded frames in presentation order; packets that cannot be decoded are skipped."""
        for packet in self.packets():
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: "av.Packet[av.VideoStream] | None") -> list[av.VideoFrame]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except MemoryError as error:
            raise VideoError("TooManyPixelsError", TOO_MUCH_MEMORY) from error
        except FFmpegError:
            self.is_damaged = True
            return []
        for frame in frames:
            if frame.width * frame.height > self._max_pixels:
                raise too_many_pixels(self._max_pixels)
            self.is_damaged |= frame.is_corrupt
        return frames


def frames_from_keyframe(
    request: DecodeRequest, seek_pts: int, on_step: Callable[[], None]
) -> tuple[OpenVideo, Iterator[av.VideoFrame]]:
    """Return the video and its frames from the one shown at `seek_pts` on.

    There are none where that frame cannot be reached even from the start. A seek is not believed: only a decoder that
    delivers exactly the frame of `seek_pts` is. Leading pictures of an open group, and keyframes that merely begin a
    gradual refresh, deliver another one first; then decoding begins earlier.
    """
    for seconds in (*EARLIER_SECONDS, None):
        video = OpenVideo(request, on_step)
        if seconds is not None and not video.seek(seek_pts - round(seconds / video.time_base)):
            continue
        frames = (frame for frame in video.frames() if frame.pts is not None and frame.pts >= seek_pts)
        first = next(frames, None)
        if first is not None and first.pts == seek_pts:
            return video, chain([first], frames)
    return video, iter(())


def undecodable(video: OpenVideo, max_pixels: int) -> VideoError:
    """Return the error for a video without a single frame."""
    if video.pixels > max_pixels:
        return too_many_pixels(max_pixels)
    return VideoError(
        "UndecodableError",
        "Not one frame of the video can be decoded: it is empty, damaged, "
        f"or its frames have more than {max_pixels} pixels.",
    )


def too_many_pixels(max_pixels: int) -> VideoError:
    """Return the error for frames above the limit."""
    return VideoError(
        "TooManyPixelsError", f"The video's frames have more than {max_pixels} pixels. Send a smaller version of it."
    )
