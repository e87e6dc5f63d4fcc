"""Results written by the command line: as files that appear when they are whole, or on standard output."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from app.analyze import AnalysedVideo
from app.exports.captions import CaptionOptions
from app.exports.formats import ExportFormat, iter_export
from app.outputs import OVERLAY, PLOT, STDOUT, Output, OutputError
from app.overlay_file import Drawing, write_overlay_file
from app.plot import plot_timeline

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
            with _replacing(output.path) as path:
                _write(output.form, video, path, drawing)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the result cannot be written to {output.path}: {error.strerror or error}") from error


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


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield the place of a file that takes its name when it is whole; a device or a pipe is written as it is."""
    if path.exists() and not path.is_file():
        yield path
        return
    part = path.with_name(f".{os.getpid()}.{path.name}")  # the suffix stays: it says what a figure is drawn as
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
