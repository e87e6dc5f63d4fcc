"""Which decoded frames the decoder process ships: those of a plan, checked against it, or those a sampler keeps."""

from collections.abc import Callable, Iterator

import av

from worker.decode_messages import DecodeRequest
from worker.sampling import Sampler
from worker.video_source import OpenVideo, VideoError, frames_from_keyframe, undecodable

Selected = tuple[int, float, av.VideoFrame]
"""Number, pts_seconds, frame; lives inside the decoder process only."""


def planned_frames(request: DecodeRequest, on_step: Callable[[], None]) -> Iterator[Selected]:
    """Yield the frames of a plan; call `on_step` all the time.

    Raises:
        VideoError: IndexMismatchError where the decoder's frames are not the planned ones.
    """
    assert request.frames is not None
    assert request.pts_seconds is not None
    planned = iter(zip(request.frames, request.pts_seconds, strict=True))
    last = request.frames[-1]
    if request.seek_pts is None:
        video = OpenVideo(request, on_step)
        frames = video.frames()
    else:
        video, frames = frames_from_keyframe(request, request.seek_pts, on_step)
    wanted, expected = next(planned)
    number = request.seek_frame - 1
    for number, frame in enumerate(frames, start=request.seek_frame):
        if number > last:
            raise VideoError("IndexMismatchError", f"expected {last + 1} frames in all, got more")
        if number == wanted:
            pts_seconds = None if frame.pts is None else float((frame.pts - request.start_pts) * video.time_base)
            if pts_seconds != expected:
                raise VideoError("IndexMismatchError", f"expected frame {number} at {expected} s, got {pts_seconds} s")
            yield number, expected, frame
            if number == last and not request.ends_video:
                return
            wanted, expected = next(planned, (wanted, expected))
    if number < last:
        raise VideoError("IndexMismatchError", f"expected frames up to {last}, got frames up to {number}")


def sampled_frames(request: DecodeRequest, on_step: Callable[[], None]) -> Iterator[Selected]:
    """Yield the frames that a sampler keeps, all of the video decoded from the start; call `on_step` all the time.

    Raises:
        VideoError: too long, or not one frame can be decoded.
    """
    video = OpenVideo(request, on_step)
    sampler = Sampler(request.sample_fps)
    clock = _Clock(step=max(1, round(video.frame_seconds / video.time_base)))
    start: int | None = None
    number = -1
    for number, frame in enumerate(video.frames()):
        pts = clock.time(frame)
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
        raise undecodable(video, request.max_pixels)


class _Clock:
    """Presentation times, also for frames without one: these follow the frame before them at the usual distance."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._previous: int | None = None
        self._shift = 0
        self._has_guessed = False

    def time(self, frame: av.VideoFrame) -> int:
        """Return the time of the next frame."""
        if frame.pts is None:
            self._has_guessed = True
            time = 0 if self._previous is None else self._previous + self._step
        else:
            time = frame.pts + self._shift
            if self._has_guessed and self._previous is not None and time <= self._previous:
                # the video's own clock begins only now: what is known is moved behind what was guessed
                self._shift += self._previous + self._step - time
                time = self._previous + self._step
        self._previous = time
        return time
