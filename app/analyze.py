"""Videos analysed in this process, without Redis: the networks are loaded once, for as many videos as there are."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.exports.head import Result, Source, Summary
from model.errors import CheckpointError
from worker.assembly import create_analyzer, create_limits
from worker.contract import JobOptions
from worker.errors import AnalysisError
from worker.face_networks import WeightsError
from worker.index import VideoIndex
from worker.pipeline import analyse_video
from worker.safe_decoder import UnsafeDecoderError, require_safe_decoder
from worker.settings import WorkerSettings
from worker.summary import summarise

__all__ = ["AnalysedVideo", "AnalyzerError", "LocalAnalyzer", "VideoError"]


class VideoError(Exception):
    """The video is missing or cannot be analysed; the message is one sentence."""


class AnalyzerError(Exception):
    """No video can be analysed here: weights are not usable, or the decoder is too old. The message is one sentence."""


@dataclass(frozen=True, slots=True)
class AnalysedVideo:
    """A video and what was found in it."""

    path: Path
    result: Result
    index: VideoIndex
    """Times of all its frames, analysed or not."""


class LocalAnalyzer:
    """The loaded networks and the settings of this process."""

    def __init__(self) -> None:
        """Load the networks, which takes some seconds.

        Raises:
            AnalyzerError: The weights are missing or not usable, or the installed decoder must not be used.
            ValidationError: A setting makes no sense.
        """
        settings = WorkerSettings()
        self._limits = create_limits(settings)
        try:
            require_safe_decoder()
            self._analyzer = create_analyzer(settings)
        except (CheckpointError, UnsafeDecoderError, WeightsError) as error:
            raise AnalyzerError(str(error)) from error

    def analyze(self, path: Path, options: JobOptions, *, on_progress: Callable[[int, int], None]) -> AnalysedVideo:
        """Analyse a video.

        Args:
            path: The video.
            options: As of a job.
            on_progress: Called with the frames analysed and the frames there are, of some videos an estimate.

        Raises:
            VideoError: It is missing or cannot be analysed.
        """
        started_at = datetime.now(UTC)
        try:
            source = _describe_source(path)
            analysis = analyse_video(self._analyzer, path.resolve(), options, self._limits, on_progress=on_progress)
        except AnalysisError as error:
            raise VideoError(str(error)) from error
        except OSError as error:
            raise VideoError(f"the file cannot be read: {error.strerror or error}") from error
        result = Result(
            source=source,
            video=analysis.facts,
            model=self._analyzer.version,
            options=options,
            created_at=started_at,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            summary=Summary(tracks=summarise(analysis.rows)),
            rows=analysis.rows,
        )
        return AnalysedVideo(path, result, analysis.index)


def _describe_source(path: Path) -> Source:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(file_name=path.name, size_bytes=path.stat().st_size, sha256=digest)
