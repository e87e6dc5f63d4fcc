"""The annotated video of the command line: worker.overlay with our colours, the provenance as the comment."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.analyze import AnalysedVideo, VideoError
from app.palette import EMOTION_COLORS
from worker.assembly import create_limits
from worker.errors import AnalysisError
from worker.overlay import OverlayOptions, write_overlay
from worker.settings import WorkerSettings

__all__ = ["Drawing", "write_overlay_file"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a video is annotated, and who is told how far it is."""

    on_progress: Callable[[int, int], object]
    """Called with the frames drawn and the frames there are, as far as known."""
    blur_faces: bool = False


def write_overlay_file(path: Path, video: AnalysedVideo, drawing: Drawing) -> None:
    """Write the annotated MP4 of a video.

    Raises:
        VideoError: The video cannot be decoded any more.
        OSError: The file cannot be written.
    """
    result = video.result
    provenance = result.head().model_dump_json(exclude={"summary"})
    options = OverlayOptions(colors=EMOTION_COLORS, blur_faces=drawing.blur_faces, metadata={"comment": provenance})
    try:
        write_overlay(
            video.path.resolve(),
            path,
            result.rows,
            video.index,
            options,
            create_limits(WorkerSettings()),
            on_progress=drawing.on_progress,
        )
    except AnalysisError as error:
        raise VideoError(str(error)) from error
