"""A video with its faces drawn onto it: decoded again in the sandbox, annotated and encoded here, sound copied there.

Every frame of the video is kept at its true time, upright as a viewer sees it. One frame is in memory at a time. The
output grows beside its final name and takes it when it is whole.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from model.labels import Emotion
from worker.annotator import Annotator
from worker.contract import FrameRow
from worker.decode import DecodeLimits, iter_frames
from worker.errors import UndecodableError
from worker.index import VideoIndex, fallback_plan
from worker.mux_process import MuxProcess
from worker.shown_faces import FaceTimeline

__all__ = ["OverlayOptions", "write_overlay"]

ENCODERS: Mapping[str, Mapping[str, str]] = {
    # H.264 wherever PyAV was built with it, which its wheels are
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libopenh264": {"rc_mode": "quality"},
    "mpeg4": {"qscale": "3"},
}
FINEST_CLOCK = {"mpeg4": 65_535}
"""Most ticks a second that an encoder's format can say; else MICROSECONDS."""
MICROSECONDS = 1_000_000
BT709 = 1
"""FFmpeg's number for the primaries, the transfer curve and the matrix of HDTV."""


@dataclass(frozen=True, slots=True)
class OverlayOptions:
    """How the annotated video looks."""

    colors: Mapping[Emotion, str]
    """`#rrggbb` of each expression."""
    blur_faces: bool = False
    """Whether faces are made unrecognisable, wherever one was found."""
    metadata: Mapping[str, str] | None = None
    """Fields of the MP4: `title`, `comment` and the like."""


def write_overlay(
    video: Path,
    output: Path,
    rows: Sequence[FrameRow],
    index: VideoIndex,
    options: OverlayOptions,
    limits: DecodeLimits,
    *,
    on_progress: Callable[[int, int], object] | None = None,
) -> str:
    """Write an annotated MP4 and return what became of the sound: `none`, `copied` or `transcoded`.

    Args:
        video: The video, which must not be the output.
        output: The MP4; what was there is replaced once the new one is whole.
        rows: All rows of the video, at least one, with final track numbers.
        index: The video's index: its clock, and how its sound lies to its pictures.
        options: How it looks.
        limits: What decoding may cost, and copying the sound.
        on_progress: Called with the frames done and their total, which is an estimate for odd files.

    Raises:
        AnalysisError: The video cannot be decoded any more.
        OSError: The output cannot be written.
    """
    part = output.with_name(f"{output.name}.part")
    try:
        outcome = _write(video, part, rows, index, options, limits, on_progress or (lambda done, total: None))
        os.replace(part, output)
    finally:
        part.unlink(missing_ok=True)
    return outcome


def _write(
    video: Path,
    output: Path,
    rows: Sequence[FrameRow],
    index: VideoIndex,
    options: OverlayOptions,
    limits: DecodeLimits,
    on_progress: Callable[[int, int], object],
) -> str:
    annotator = Annotator(colors=options.colors, blur_faces=options.blur_faces)
    timeline = FaceTimeline(rows)
    with closing(iter_frames(video, fallback_plan(), sample_fps=None, limits=limits)) as frames:
        first = next(frames, None)
        if first is None:
            raise UndecodableError("Not one frame of the video can be decoded any more.")
        rate = Fraction(index.frame_count / max(index.duration_seconds, 0.001)).limit_denominator(1001)
        encoder = PictureEncoder(size=first.image.shape[1::-1], time_base=index.time_base, frame_rate=rate)
        with MuxProcess(
            video,
            output,
            codec=encoder.codec,
            size=encoder.size,
            frame_rate=rate,
            time_base=encoder.time_base,
            start_seconds=index.start_seconds,
            metadata=dict(options.metadata or {}),
            limits=limits,
        ) as muxer:
            for done, frame in enumerate(chain([first], frames), start=1):
                annotator.draw(frame.image, timeline.at(frame.pts_seconds))
                for packet in encoder.encode(frame.image, pts_seconds=frame.pts_seconds):
                    muxer.write(packet)
                on_progress(done, max(done, index.frame_count))
            for packet in encoder.finish():
                muxer.write(packet)
            return muxer.finish()


class PictureEncoder:
    """Pictures of a video, one after another, to packets; the first one decides the size."""

    def __init__(
        self, *, size: tuple[int, int], time_base: Fraction, frame_rate: Fraction, codec: str | None = None
    ) -> None:
        self.codec = codec or next(name for name in ENCODERS if name in av.codecs_available)
        finest = FINEST_CLOCK.get(self.codec, MICROSECONDS)
        self.time_base = time_base if time_base.denominator <= finest else Fraction(1, finest)
        width, height = size
        self.size = width + width % 2, height + height % 2
        """Even: the colour planes have half of it."""
        self._context = _create_context(self.codec, size=self.size, time_base=self.time_base, frame_rate=frame_rate)
        self._reformatter = VideoReformatter()
        self._last_pts: int | None = None

    def encode(self, image: NDArray[np.uint8], *, pts_seconds: float) -> list["av.Packet[av.VideoStream]"]:
        """Add a picture (H, W, 3) uint8 RGB; its packet may come later."""
        width, height = self.size
        rgb = av.VideoFrame.from_ndarray(_fit(image, width=width, height=height), format="rgb24")
        frame = self._reformatter.reformat(
            rgb, format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        pts = round(pts_seconds / self.time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)  # two frames at one time: a file may say so, an encoder may not
        frame.pts = self._last_pts = pts
        frame.time_base = self.time_base
        return self._context.encode(frame)

    def finish(self) -> list["av.Packet[av.VideoStream]"]:
        """Return the packets of the pictures that the encoder still holds."""
        return self._context.encode(None)


def _create_context(
    codec: str, *, size: tuple[int, int], time_base: Fraction, frame_rate: Fraction
) -> av.VideoCodecContext:
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext), "only encoders of pictures are named"
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.time_base = time_base
    context.framerate = frame_rate
    context.options = dict(ENCODERS[codec])
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = ColorRange.MPEG.value
    return context


def _fit(image: NDArray[np.uint8], *, width: int, height: int) -> NDArray[np.uint8]:
    """Return the picture at the size of the output: an odd edge doubled, a picture of another size scaled between bars.

    Few files change their size half-way; broadcasts do.
    """
    high, wide, _ = image.shape
    if 0 <= width - wide <= 1 and 0 <= height - high <= 1:
        edges = ((0, height - high), (0, width - wide), (0, 0))
        return image if (wide, high) == (width, height) else np.pad(image, edges, mode="edge")
    scale = min(width / wide, height / high)
    scaled = cv2.resize(image, (max(1, round(wide * scale)), max(1, round(high * scale))), interpolation=cv2.INTER_AREA)
    fitted = np.zeros((height, width, 3), np.uint8)
    top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
    fitted[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return fitted
