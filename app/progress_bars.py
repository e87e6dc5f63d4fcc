"""Progress bars of the command line: of videos, of frames, of bytes."""

from collections.abc import Callable

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from app.client_core.progress import UPLOADING
from app.client_core.progress import Progress as JobProgress

__all__ = ["create_progress", "show_progress"]


def create_progress(console: Console) -> Progress:
    """Return a display of tasks, each of which has a field `unit`: frames, videos or bytes."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        _CountColumn(),
        _SpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,  # the report that follows says all of it
        disable=not console.is_terminal,  # in a log file the moving parts are noise
    )


def show_progress(bars: Progress, name: str) -> Callable[[JobProgress], None]:
    """Add a bar of a video that a service analyses; returns what moves it on."""
    task = bars.add_task(f"{name}: {UPLOADING}", total=None, unit="bytes")
    shown = UPLOADING

    def show(progress: JobProgress) -> None:
        nonlocal shown
        if progress.stage != shown:  # each stage starts anew, its speed included
            bars.reset(task, description=f"{name}: {progress.stage}", unit="frames")
            shown = progress.stage
        bars.update(task, completed=progress.done, total=progress.total)

    return show


class _CountColumn(ProgressColumn):
    """What is done, and of how much as far as known."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        done, total = (
            "" if count is None else decimal(int(count)) if unit == "bytes" else f"{count:.0f}"
            for count in (task.completed, task.total)
        )
        counted = f"{done} of {total}" if total else done
        return Text(counted if unit == "bytes" else f"{counted} {unit}", style="progress.download")


class _SpeedColumn(ProgressColumn):
    """How fast, as far as known."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None or task.fields["unit"] == "videos":
            return Text("")
        spoken = (
            f"{decimal(int(speed))}/s" if task.fields["unit"] == "bytes" else f"{speed:.1f} {task.fields['unit']}/s"
        )
        return Text(spoken, style="progress.data.speed")
