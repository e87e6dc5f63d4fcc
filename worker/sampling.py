"""Which frames are analysed when a client asks for at most so many a second.

One rule, used by the packet index in the parent and by the decoding pass in the child, so that both choose the same
frames. Standard library only: the child imports this file.
"""

import math

TOLERANCE_SECONDS = 0.001
"""A frame so little before a tick counts as on it: containers round times, Matroska to a millisecond, and without this
a video of 30 frames a second sampled at 30 would lose every third frame."""


class Sampler:
    """Keep the first frame at or after each tick k / sample_fps, at most one a tick."""

    def __init__(self, sample_fps: float | None) -> None:
        if sample_fps is not None and not sample_fps > 0:
            raise ValueError(f"expected sample_fps above 0, got {sample_fps = }")
        self._sample_fps = sample_fps
        self._last_tick = -1

    def keep(self, pts_seconds: float) -> bool:
        """Return whether the frame shown at `pts_seconds` is analysed; frames are asked about in presentation order."""
        if self._sample_fps is None:
            return True
        tick = math.floor((pts_seconds + TOLERANCE_SECONDS) * self._sample_fps)
        if tick <= self._last_tick:
            return False
        self._last_tick = tick
        return True
