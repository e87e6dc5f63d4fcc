"""Results written by the command line: as files that appear when they are whole, or on standard output."""

import sys
from pathlib import Path

from app.analyze import AnalysedVideo
from app.exports.captions import CaptionOptions
from app.exports.formats import ExportFormat, iter_export
from app.outputs import OVERLAY, PLOT, STDOUT, Output, OutputError
from app.overlay_file import Drawing, write_overlay_file
from app.plot import plot_timeline
from app.replacing import plan_replacement

__all__ = ["write_output"]


def write_output(output: Output, video: AnalysedVideo, drawing: Drawing) -> None:
    """Write a result; `drawing` is how a video is annotated, where that is the form.

    Raises:
        OutputError: It cannot be written.
        VideoError: It is an annotated video, and the video cannot be decoded any more.
        BrokenPipeError: Nobody reads standard output any more.
    """
    try:
        if output.path == STDOUT:
            _write(output.form, video, STDOUT, drawing)
        else:
            _write_file(output, video, drawing)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the result cannot be written to {output.path}: {error.strerror or error}") from error


def _write_file(output: Output, video: AnalysedVideo, drawing: Drawing) -> None:
    replacement = plan_replacement(output.path)
    if replacement is None:
        _write(output.form, video, output.path, drawing)
        return
    try:
        _write(output.form, video, replacement.part, drawing)
        replacement.commit()
    finally:
        replacement.discard()


def _write(form: str, video: AnalysedVideo, path: Path, drawing: Drawing) -> None:
    result = video.result
    if form == OVERLAY:
        write_overlay_file(path, video, drawing)
        return
    if form == PLOT:
        plot_timeline(path, result.rows, title=video.path.name)
        return
    pieces = iter_export(ExportFormat(form), result.head(), result.rows, captions=CaptionOptions())
    if path == STDOUT:
        sys.stdout.buffer.writelines(pieces)
        sys.stdout.buffer.flush()
    else:
        with path.open("wb") as file:
            file.writelines(pieces)
