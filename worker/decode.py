"""The parent's side of the sandboxed decoder: frames of a segment as arrays, decoded in a process of their own."""

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from mmap import PROT_READ, mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.contract import SegmentPlan
from worker.decode_messages import FRAME, SLOTS, DecodeRequest
from worker.decode_process import DecodeLimits, DecoderProcess, open_video

__all__ = ["DecodeLimits", "Frame", "iter_frames"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One analysed frame."""

    number: int
    """Counted from 0 over all shown frames of the video."""
    pts_seconds: float
    """Presentation time relative to the first shown frame."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB as a viewer sees it: turned by the display matrix, sample aspect ratio not applied."""


def iter_frames(
    path: Path,
    plan: SegmentPlan,
    *,
    sample_fps: float | None,
    limits: DecodeLimits,
    should_stop: Callable[[], bool] | None = None,
    on_sign: Callable[[], object] | None = None,
) -> Generator[Frame, None, None]:
    """Yield the frames of `plan` in presentation order; closing the iterator kills the decoder process.

    A plan without frame numbers decodes the video from its start and samples on the fly; with them, `sample_fps` has
    been applied already. `should_stop` is asked while waiting for the decoder; `on_sign` is called with every sign of
    life that it gives, about one a second, frames or not.

    Raises:
        AnalysisError: the video cannot be decoded (all leaves but PoisonError).
        IndexMismatchError: the decoder's frames are not the planned ones; use worker.index.fallback_plan().
        JobCanceledError: should_stop said so.
    """
    with ExitStack() as stack:
        video_fd = open_video(path)
        stack.callback(os.close, video_fd)
        # shared memory without a name; a slot is as large as the largest frame allowed, but only written pages exist
        ring_fd = os.memfd_create("emoclip-frames", os.MFD_CLOEXEC)
        stack.callback(os.close, ring_fd)
        request = _create_request(plan, video_fd=video_fd, ring_fd=ring_fd, sample_fps=sample_fps, limits=limits)
        os.ftruncate(ring_fd, SLOTS * request.slot_bytes)
        ring = stack.enter_context(mmap(ring_fd, SLOTS * request.slot_bytes, prot=PROT_READ))
        decoder = stack.enter_context(DecoderProcess(request, limits=limits, should_stop=should_stop, on_sign=on_sign))
        for _, payload in decoder.messages():
            slot, number, pts_seconds, height, width = FRAME.unpack(payload)
            image = _copy_image(ring, offset=slot * request.slot_bytes, height=height, width=width)
            decoder.release(slot)
            yield Frame(number=number, pts_seconds=pts_seconds, image=image)


def _copy_image(ring: mmap, *, offset: int, height: int, width: int) -> NDArray[np.uint8]:
    if offset + height * width * 3 > len(ring):
        raise RuntimeError(f"expected a picture inside the shared memory, got {height} x {width} at {offset}")
    return np.ndarray((height, width, 3), np.uint8, buffer=ring, offset=offset).copy()


def _create_request(
    plan: SegmentPlan, *, video_fd: int, ring_fd: int, sample_fps: float | None, limits: DecodeLimits
) -> DecodeRequest:
    return DecodeRequest(
        video_fd=video_fd,
        ring_fd=ring_fd,
        max_pixels=limits.max_pixels,
        max_duration_seconds=limits.max_duration_seconds,
        max_frames=limits.max_frames,
        memory_bytes=limits.memory_bytes,
        cpu_seconds=limits.cpu_seconds,
        threads=limits.threads,
        sample_fps=sample_fps,
        frames=None if plan.frames is None else list(plan.frames),
        pts_seconds=None if plan.pts_seconds is None else list(plan.pts_seconds),
        seek_pts=plan.seek_pts,
        seek_frame=plan.seek_frame,
        start_pts=plan.start_pts,
        ends_video=plan.ends_video,
    )
