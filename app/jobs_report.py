"""What the command line shows of jobs on a service."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.client import Job, JobState

__all__ = ["describe_end", "print_job", "print_jobs", "print_json"]

_STYLES = {JobState.SUCCEEDED: "green", JobState.FAILED: "red", JobState.CANCELED: "yellow"}


def print_json(job: Job) -> None:
    """Print a job for programs, on one line."""
    sys.stdout.write(job.model_dump_json() + "\n")


def print_jobs(console: Console, jobs: Sequence[Job]) -> None:
    """Print a line for each job."""
    if not jobs:
        console.print("no jobs")
        return
    table = Table()
    table.add_column("job", no_wrap=True)
    for header in ("created", "state", "frames", "video"):
        table.add_column(header, justify="right" if header == "frames" else "left")
    for job in jobs:
        table.add_row(
            job.id,
            f"{job.created_at.astimezone():%Y-%m-%d %H:%M}",
            _format_state(job),
            _format_frames(job),
            Text(job.upload.file_name or "-", overflow="fold"),
        )
    console.print(table)


def print_job(console: Console, job: Job) -> None:
    """Print all that is known of a job."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("job", job.id)
    table.add_row("state", _format_state(job))
    if job.error is not None:
        table.add_row("error", Text(f"{job.error.message} ({job.error.code.value})"))
    table.add_row("frames", _format_frames(job))
    if not job.state.is_terminal and job.progress.eta_seconds is not None:
        table.add_row("left", f"{job.progress.eta_seconds:.0f} s")
    size = f"{job.upload.size_bytes / 1e6:.1f} MB"
    table.add_row("video", Text(f"{job.upload.file_name} ({size})" if job.upload.file_name else size))
    if job.video is not None:
        video = job.video
        table.add_row("", f"{video.width} x {video.height}, {video.duration_seconds:.2f} s, {video.codec}")
    chosen = job.options.model_dump(exclude_none=True)
    table.add_row("options", ", ".join(f"{name} {value}" for name, value in chosen.items()) or "none")
    for name, moment in (
        ("created", job.created_at),
        ("started", job.started_at),
        ("finished", job.finished_at),
        ("expires", job.expires_at),
    ):
        if moment is not None:
            table.add_row(name, f"{moment.astimezone():%Y-%m-%d %H:%M:%S}")
    for track in job.summary.tracks if job.summary is not None else ():
        table.add_row(
            f"track {track.track}",
            f"{track.start_seconds:.2f} - {track.end_seconds:.2f} s, {track.emotion.value} "
            f"{track.mean_probabilities[track.emotion]:.2f}",
        )
    console.print(table, highlight=False)


def describe_end(job: Job) -> str:
    """Return how a job ended, in a phrase."""
    return f"{job.state.value}: {job.error.message}" if job.error is not None else job.state.value


def _format_state(job: Job) -> Text:
    return Text(job.state.value, style=_STYLES.get(job.state, ""))


def _format_frames(job: Job) -> str:
    done, total = job.progress.frames_done, job.progress.frames_total
    return str(done) if total is None or done == total else f"{done} of {total}"
