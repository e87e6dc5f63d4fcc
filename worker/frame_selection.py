"""Which decoded frames the decoder process ships: those of a plan, checked against it, or those a sampler keeps."""

from collections.abc import Callable, Iterator

import av

from worker.decode_messages import DecodeRequest
from worker.sampling import Sampler
from worker.video_source import OpenVideo, VideoError, frames_from_keyframe, too_many_pixels

Selected = tuple[int, float, av.VideoFrame]
"""Number, pts_seconds, frame; lives inside the decoder process only."""


def planned_frames(request: DecodeRequest, on_decoded: Callable[[], None]) -> Iterator[Selected]:
    """Yield the frames of a plan; call `on_decoded` after every decoded frame.

    Raises:
        VideoError: IndexMismatchError where the decoder's frames are not the planned ones.
    """
    assert request.frames is not None
    assert request.pts_seconds is not None
    planned = iter(zip(request.frames, request.pts_seconds, strict=True))
    last = request.frames[-1]
    if request.seek_pts is None:
        video = OpenVideo(request)
        time_base, frames = video.time_base, video.frames()
    else:
        time_base, frames = frames_from_keyframe(request, request.seek_pts)
    wanted, expected = next(planned)
    number = request.seek_frame - 1
    for number, frame in enumerate(frames, start=request.seek_frame):
        on_decoded()
        if number > last:
            raise VideoError("IndexMismatchError", f"expected {last + 1} frames in all, got more")
        if number == wanted:
            pts_seconds = None if frame.pts is None else float((frame.pts - request.start_pts) * time_base)
            if pts_seconds != expected:
                raise VideoError("IndexMismatchError", f"expected frame {number} at {expected} s, got {pts_seconds} s")
            yield number, expected, frame
            if number == last and not request.ends_video:
                return
            wanted, expected = next(planned, (wanted, expected))
    if number < last:
        raise VideoError("IndexMismatchError", f"expected frames up to {last}, got frames up to {number}")


def sampled_frames(request: DecodeRequest, on_decoded: Callable[[], None]) -> Iterator[Selected]:
    """Yield the frames that a sampler keeps, all of the video decoded from the start; call `on_decoded` after each.

    Raises:
        VideoError: too long, or not one frame can be decoded.
    """
    video = OpenVideo(request)
    sampler = Sampler(request.sample_fps)
    start: int | None = None
    previous = None
    number = -1
    for number, frame in enumerate(video.frames()):
        on_decoded()
        pts = _presentation_time(frame, previous=previous, step=round(video.frame_seconds / video.time_base))
        previous = pts
        start = pts if start is None else start
        pts_seconds = float((pts - start) * video.time_base)
        if number >= request.max_frames:
            raise VideoError("TooLongError", f"The video has more than {request.max_frames} frames. Send a part of it.")
        if pts_seconds > request.max_duration_seconds:
            raise VideoError(
                "TooLongError", f"The video is longer than {request.max_duration_seconds:g} seconds. Send a part of it."
            )
        if sampler.keep(pts_seconds):
            yield number, pts_seconds, frame
    if number < 0:
        if video.pixels > request.max_pixels:
            raise too_many_pixels(request.max_pixels)
        raise VideoError("UndecodableError", "Not one frame of the video can be decoded: it is empty or damaged.")


def _presentation_time(frame: av.VideoFrame, *, previous: int | None, step: int) -> int:
    """Return the frame's own time; where it has none, the one that decoding order gives, or the next regular one."""
    if frame.pts is not None:
        return frame.pts
    if previous is None:
        return frame.dts or 0
    return frame.dts if frame.dts is not None and frame.dts > previous else previous + step
