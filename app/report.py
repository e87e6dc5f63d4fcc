"""What the command line shows of a result: the video, a table of tracks, and their spans over time."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from app.exports.head import Result, Summary
from app.timeline import create_timeline
from worker.contract import FrameRow

__all__ = ["create_progress", "print_report"]


class _SpeedColumn(ProgressColumn):
    """Frames per second, as far as known."""

    def render(self, task: Task) -> Text:
        """Return the cell of one task."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} frames/s")


def create_progress(console: Console) -> Progress:
    """Return a progress bar that counts frames."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:.0f}/{task.total} frames"),
        _SpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=not console.is_terminal,  # in a log file the moving parts are noise
    )


def print_report(console: Console, *, title: str, result: Result) -> None:
    """Print the facts of the video, one line a track, and each track's spans of time."""
    video, model = result.video, result.model
    faceless = sum(not row.faces for row in result.rows)
    console.print(
        f"[bold]{title}[/]  {video.width} x {video.height}, {video.duration_seconds:.2f} s, "
        f"{video.analysed_frames} of {video.frame_count} frames analysed, {faceless} without a face"
    )
    console.print(f"model {model.name} ({model.sha256[:12]}), detector {model.detector} ({model.detector_sha256[:12]})")
    if not result.summary.tracks:
        console.print("no face found")
        return
    console.print(_create_track_table(result.summary))
    console.print(_create_span_table(result.rows))
    console.print("[dim]spans shorter than half a second are part of their neighbours[/]")


def _create_track_table(summary: Summary) -> Table:
    table = Table(title="Tracks", title_justify="left")
    for header in ("track", "seconds", "frames", "expression", "mean", "share of frames"):
        table.add_column(header, justify="right" if header in ("track", "frames", "mean") else "left")
    for track in summary.tracks:
        shares = sorted(track.shares.items(), key=lambda item: -item[1])
        table.add_row(
            str(track.track),
            f"{track.start_seconds:.2f} - {track.end_seconds:.2f}",
            str(track.frames),
            track.emotion.value,
            f"{track.mean_probabilities[track.emotion]:.2f}",
            ", ".join(f"{emotion.value} {share:.0%}" for emotion, share in shares if share >= 0.005),
        )
    return table


def _create_span_table(rows: Sequence[FrameRow]) -> Table:
    table = Table(title="Timeline", title_justify="left")
    for header in ("track", "from", "to", "expression", "probability"):
        table.add_column(header, justify="left" if header == "expression" else "right")
    previous = None
    for span in create_timeline(rows):
        table.add_row(
            str(span.track) if span.track != previous else "",
            f"{span.start_seconds:.2f}",
            f"{span.end_seconds:.2f}",
            span.emotion.value,
            f"{span.mean_probability:.2f}",
        )
        previous = span.track
    return table
