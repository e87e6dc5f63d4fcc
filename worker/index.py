"""What is known of a video before it is analysed: the time of every frame, where one can seek, and the segments to cut.

The reading happens in the sandboxed decoder process (worker.packet_index). Where packets and decoder disagree the index
is not exact; it then only estimates, and the video is analysed by one decoding pass, whose frames are always right.
"""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.contract import CLIP_FRAMES, SegmentPlan, VideoFacts
from worker.decode_messages import INDEX_LENGTHS, DecodeRequest
from worker.decode_process import DecodeLimits, DecoderProcess, open_video
from worker.errors import TooLongError
from worker.sampling import Sampler

__all__ = ["Sampler", "VideoIndex", "fallback_plan", "index_video", "plan_segments"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """The frames of a video as its packets tell them."""

    exact: bool
    """Whether the numbers and times below are those that the decoder delivers, as far as was checked."""
    reason: str
    """Why not; empty where exact."""
    frame_count: int
    """Frames a viewer is shown; an estimate where not exact."""
    duration_seconds: float
    width: int
    height: int
    rotation_degrees: int
    codec: str
    time_base: Fraction
    """Seconds in one unit of pts."""
    start_seconds: float
    """Time of the first shown frame on the file's own clock, which the sound shares: the zero of pts_seconds."""
    pts: NDArray[np.int64]
    """(frame_count,) presentation times of all shown frames, in units of time_base."""
    keyframes: NDArray[np.int64]
    """(K,) numbers of the frames that decoding can begin at."""
    numbers: NDArray[np.int64]
    """(N,) numbers of the analysed frames."""
    pts_seconds: NDArray[np.float64]
    """(N,) their times, relative to the first shown frame."""
    analysed_frames: int
    """N; an estimate where not exact."""

    def facts(self) -> VideoFacts:
        """Return what a client is told of the video."""
        return VideoFacts(
            duration_seconds=self.duration_seconds,
            frame_count=self.frame_count,
            analysed_frames=self.analysed_frames,
            width=self.width,
            height=self.height,
            rotation_degrees=self.rotation_degrees,
            codec=self.codec,
        )


def index_video(
    path: Path,
    *,
    sample_fps: float | None,
    limits: DecodeLimits,
    should_stop: Callable[[], bool] | None = None,
    on_sign: Callable[[], object] | None = None,
) -> VideoIndex:
    """Read all packets of a video, decode only its ends, and return its index.

    `should_stop` and `on_sign` are those of worker.decode.iter_frames.

    Raises:
        AnalysisError: no video, not one frame of it can be decoded, or it is above the limits.
        JobCanceledError: should_stop said so.
    """
    video_fd = open_video(path)
    try:
        request = DecodeRequest(
            video_fd=video_fd,
            max_pixels=limits.max_pixels,
            max_duration_seconds=limits.max_duration_seconds,
            max_frames=limits.max_frames,
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            threads=limits.threads,
        )
        with DecoderProcess(request, limits=limits, should_stop=should_stop, on_sign=on_sign) as decoder:
            ((_, payload),) = decoder.messages()
    finally:
        os.close(video_fd)
    index = _parse_index(payload, sample_fps=sample_fps)
    if index.duration_seconds > limits.max_duration_seconds:
        raise TooLongError(
            f"The video is {index.duration_seconds:.0f} seconds long, "
            f"at most {limits.max_duration_seconds:g} are accepted. Send a part of it."
        )
    if not index.exact:
        logger.info("the index is not exact: %s", index.reason)
    return index


def _parse_index(payload: bytes, *, sample_fps: float | None) -> VideoIndex:
    facts_bytes, pts_bytes = INDEX_LENGTHS.unpack_from(payload)
    body = payload[INDEX_LENGTHS.size :]
    facts = json.loads(body[:facts_bytes])
    pts = np.frombuffer(body[facts_bytes : facts_bytes + pts_bytes], dtype=np.int64)
    keyframes = np.frombuffer(body[facts_bytes + pts_bytes :], dtype=np.int64)
    time_base = Fraction(*facts["time_base"])
    # frame by frame with Fractions, as the decoder process does it: the two must agree to the last bit
    seconds = [float((time - pts[0].item()) * time_base) for time in pts.tolist()]
    sampler = Sampler(sample_fps)
    kept = [number for number, time in enumerate(seconds) if sampler.keep(time)]
    frame_count, duration_seconds = facts["frame_count"], max(seconds, default=0.0) + facts["last_frame_seconds"]
    if len(pts) < frame_count:
        # frames without a time: guess from the rate
        duration_seconds = max(duration_seconds, frame_count * facts["frame_seconds"])
    analysed = round(len(kept) * frame_count / len(pts)) if len(pts) else frame_count
    return VideoIndex(
        exact=not facts["reason"],
        reason=facts["reason"],
        frame_count=frame_count,
        duration_seconds=duration_seconds,
        width=facts["width"],
        height=facts["height"],
        rotation_degrees=facts["rotation_degrees"],
        codec=facts["codec"],
        time_base=time_base,
        start_seconds=facts["start_seconds"],
        pts=pts,
        keyframes=keyframes,
        numbers=np.array(kept, dtype=np.int64),
        pts_seconds=np.array([seconds[number] for number in kept], dtype=np.float64),
        analysed_frames=analysed,
    )


def plan_segments(index: VideoIndex, *, segment_frames: int) -> list[SegmentPlan]:
    """Cut the analysed frames into segments of `segment_frames`, a multiple of CLIP_FRAMES.

    A video that is one segment anyway is not promised frame by frame: a decoding pass cannot be wrong about it.
    """
    if segment_frames <= 0 or segment_frames % CLIP_FRAMES:
        raise ValueError(f"expected segment_frames to be a multiple of {CLIP_FRAMES}, got {segment_frames = }")
    if not index.exact or len(index.numbers) <= segment_frames:
        return [fallback_plan()]
    return [
        _plan_segment(index, segment=segment, first_position=first, segment_frames=segment_frames)
        for segment, first in enumerate(range(0, len(index.numbers), segment_frames))
    ]


def _plan_segment(index: VideoIndex, *, segment: int, first_position: int, segment_frames: int) -> SegmentPlan:
    positions = slice(first_position, first_position + segment_frames)
    numbers = index.numbers[positions].tolist()
    earlier = index.keyframes[index.keyframes <= numbers[0]]
    seek_frame = int(earlier[-1]) if len(earlier) else 0
    return SegmentPlan(
        segment=segment,
        first_position=first_position,
        frames=tuple(numbers),
        pts_seconds=tuple(index.pts_seconds[positions].tolist()),
        seek_pts=int(index.pts[seek_frame]) if seek_frame else None,
        seek_frame=seek_frame,
        start_pts=int(index.pts[0]),
        ends_video=numbers[-1] == index.frame_count - 1,
    )


def fallback_plan() -> SegmentPlan:
    """Return the plan that is always right: the whole video by one decoding pass."""
    return SegmentPlan(segment=0, first_position=0, frames=None, pts_seconds=None, seek_pts=None)
