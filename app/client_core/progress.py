"""How far a video is on its way, as a client tells its caller."""

from collections.abc import Callable
from dataclasses import dataclass

from app.schemas import Job

__all__ = ["UPLOADING", "OnProgress", "Progress"]

UPLOADING = "uploading"


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at a video on its way."""

    stage: str
    """`uploading`, then the job's state."""
    done: int
    """Bytes while the video is uploaded, analysed frames from then on."""
    total: int | None
    """None until it is known; of some videos an estimate."""
    job: Job | None = None
    """None while the video is uploaded. Its id is all that is needed to come back to it later."""


OnProgress = Callable[[Progress], object]
