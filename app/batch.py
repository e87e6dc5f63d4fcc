"""Several videos, one after another: one that cannot be analysed is told and does not stop the others."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from app.analyze import AnalysedVideo, LocalAnalyzer, VideoError
from app.outputs import OVERLAY, Output, OutputError, Outputs
from app.overlay_file import Drawing
from app.progress_bars import create_progress
from app.report import ReportLine, print_report, print_table
from app.result_files import write_output
from worker.contract import JobOptions

__all__ = ["BatchOutcome", "Terminal", "analyze_videos"]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where the three kinds of text go."""

    report: Console
    """What was found."""
    progress: Console
    errors: Console


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """How it went."""

    analysed: int
    failed: int


def analyze_videos(
    outputs: Outputs, options: JobOptions, terminal: Terminal, *, blur_faces: bool = False
) -> BatchOutcome:
    """Analyse the videos that outputs are planned for, write these, and print a report.

    One video is reported in full, of several each has a line.

    Raises:
        AnalyzerError: None can be analysed.
        BrokenPipeError: Nobody reads the results any more.
    """
    videos = list(outputs)
    with terminal.progress.status("loading the networks"):
        analyzer = LocalAnalyzer()
    lines: list[ReportLine] = []
    with create_progress(terminal.progress) as progress:
        all_videos = progress.add_task("all videos", total=len(videos), unit="videos", visible=len(videos) > 1)
        for video in videos:
            try:
                analysed = _analyze(analyzer, video, options, progress)
                for output in outputs[video]:
                    _write(output, analysed, progress, blur_faces=blur_faces)
            except (VideoError, OutputError) as error:
                terminal.errors.print(f"{video}: {error}")
            else:
                lines.append(ReportLine.of(analysed.result, files=(output.path for output in outputs[video])))
                if len(videos) > 1:
                    terminal.progress.print(f"{video}: done")
            progress.advance(all_videos)
    if len(videos) == 1 and lines:
        print_report(terminal.report, title=videos[0].name, result=analysed.result)
    elif lines:
        print_table(terminal.report, lines)
    return BatchOutcome(len(lines), len(videos) - len(lines))


def _analyze(analyzer: LocalAnalyzer, video: Path, options: JobOptions, progress: Progress) -> AnalysedVideo:
    task = progress.add_task(video.name, total=None, unit="frames")
    try:
        return analyzer.analyze(
            video, options, on_progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
    finally:
        progress.remove_task(task)


def _write(output: Output, analysed: AnalysedVideo, progress: Progress, *, blur_faces: bool) -> None:
    task = progress.add_task(
        f"{analysed.path.name}: drawing", total=None, unit="frames", visible=output.form == OVERLAY
    )
    try:
        write_output(
            output,
            analysed,
            Drawing(lambda done, total: progress.update(task, completed=done, total=total), blur_faces=blur_faces),
        )
    finally:
        progress.remove_task(task)
