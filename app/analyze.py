"""One video analysed in this process, without Redis: what `emoclip analyze` runs, shows and writes."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from app.exports.csv import iter_csv
from app.exports.head import Result, Source, Summary
from app.exports.json import iter_json
from app.plot import plot_timeline
from app.report import create_progress, print_report
from model.errors import CheckpointError
from worker.assembly import create_analyzer, create_limits
from worker.contract import JobOptions
from worker.errors import AnalysisError
from worker.face_networks import WeightsError
from worker.pipeline import analyse_video
from worker.settings import WorkerSettings
from worker.summary import summarise

__all__ = ["NetworksError", "Outputs", "VideoError", "analyze"]


class VideoError(Exception):
    """The video is missing or cannot be analysed, or a result cannot be written; the message is one sentence."""


class NetworksError(Exception):
    """The networks cannot be loaded."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files to write; None writes none."""

    json: Path | None = None
    csv: Path | None = None
    plot: Path | None = None


def analyze(video: Path, options: JobOptions, outputs: Outputs, *, console: Console) -> Result:
    """Analyse a video, print its report and write the files that were asked for.

    Raises:
        VideoError: Nothing was analysed, or not everything was written.
        NetworksError: The weights are missing or not usable.
    """
    if not video.is_file():
        raise VideoError("no such file" if not video.exists() else "not a file")
    for path in (outputs.json, outputs.csv, outputs.plot):
        if path is not None and not path.resolve().parent.is_dir():
            raise VideoError(f"the folder of {path} does not exist")  # known before the work, not after it
    result = _analyse(video, options, console=console)
    print_report(console, title=video.name, result=result)
    try:
        _write(result, outputs, title=video.name)
    except OSError as error:
        raise VideoError(f"the result cannot be written: {error}") from error
    return result


def _analyse(video: Path, options: JobOptions, *, console: Console) -> Result:
    settings = WorkerSettings()
    created_at = datetime.now(UTC)
    try:
        with console.status("loading the networks"):
            analyzer = create_analyzer(settings)
    except (CheckpointError, WeightsError) as error:
        raise NetworksError(str(error)) from error
    started_at = datetime.now(UTC)
    with create_progress(console) as progress:
        task = progress.add_task(video.name, total=None)
        try:
            analysis = analyse_video(
                analyzer,
                video.resolve(),
                options,
                create_limits(settings),
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
        except AnalysisError as error:
            raise VideoError(str(error)) from error
    return Result(
        source=_describe_source(video),
        video=analysis.facts,
        model=analyzer.version,
        options=options,
        created_at=created_at,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        summary=Summary(tracks=summarise(analysis.rows)),
        rows=analysis.rows,
    )


def _describe_source(video: Path) -> Source:
    with video.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(file_name=video.name, size_bytes=video.stat().st_size, sha256=digest)


def _write(result: Result, outputs: Outputs, *, title: str) -> None:
    if outputs.json is not None:
        with outputs.json.open("wb") as file:
            file.writelines(iter_json(result.head(), result.rows))
    if outputs.csv is not None:
        with outputs.csv.open("wb") as file:
            file.writelines(iter_csv(result.rows))
    if outputs.plot is not None:
        plot_timeline(outputs.plot, result.rows, title=title)
