"""Raw videos -> aligned crops in Aff-Wild2's layout, `cropped_aligned/<video>/00001.jpg`, for training.

Frame numbers count from 1, as that set's annotations do. Of several faces in a frame the largest is taken; frames
without one are left out and counted. A video in the report is done: a run that was stopped goes on with the others.
"""

import json
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from model.errors import DatasetError
from worker.clips import cut_out_faces
from worker.contract import JobOptions
from worker.crop_files import write_jpeg
from worker.decode import DecodeLimits, Frame, iter_frames
from worker.errors import AnalysisError
from worker.faces import FaceDetector
from worker.index import fallback_plan, index_video
from worker.pipeline import iter_frame_groups

REPORT = "extract.json"
CROPS = "cropped_aligned"


@dataclass(frozen=True, slots=True)
class VideoReport:
    """What became of one video."""

    crops: int = 0
    without_face: int = 0
    error: str = ""
    """Why it could not be read; empty if it could."""


def extract_videos(
    source: Path, out: Path, detector: FaceDetector, limits: DecodeLimits, *, console: Console
) -> dict[str, VideoReport]:
    """Extract every file under `source`, or the one file; returns a report by name, also written to `extract.json`.

    Raises:
        DatasetError: There is no file, or two would share a folder of crops.
    """
    videos = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    videos = [path for path in videos if not path.name.startswith(".")]
    if not videos or not videos[0].exists():
        raise DatasetError.at(source, expected="videos", actual="none")
    names = [path.stem for path in videos]
    for name in names:
        if names.count(name) > 1:
            raise DatasetError.at(source, expected="one video of each name", actual=f"several named {name}")
    done = _read_report(out / REPORT)
    with Progress(console=console) as progress:
        for path in videos:
            # one that failed is tried again: the file may have been mended
            if path.stem in done and not done[path.stem].error:
                continue
            task = progress.add_task(path.stem, total=None)
            try:
                index = index_video(path, sample_fps=None, limits=limits)
                progress.update(task, total=index.analysed_frames)
                frames = iter_frames(path, fallback_plan(), sample_fps=None, limits=limits)
                on_frames = partial(progress.advance, task)
                done[path.stem] = _extract(frames, out / CROPS / path.stem, detector, on_frames=on_frames)
            except AnalysisError as error:
                done[path.stem] = VideoReport(error=str(error))
            _write_report(out / REPORT, done)
    return done


def _extract(
    frames: Generator[Frame, None, None], folder: Path, detector: FaceDetector, *, on_frames: Callable[[int], None]
) -> VideoReport:
    crops = without_face = 0
    for group in iter_frame_groups(frames):
        for frame, found in zip(group, detector.detect([frame.image for frame in group]), strict=True):
            largest = cut_out_faces(frame, found, JobOptions(max_faces=1)).crops
            if largest:
                write_jpeg(folder / f"{frame.number + 1:05d}.jpg", largest[0])
            crops += len(largest)
            without_face += not largest
        on_frames(len(group))
    return VideoReport(crops=crops, without_face=without_face)


def _read_report(path: Path) -> dict[str, VideoReport]:
    if not path.exists():
        return {}
    try:
        return {name: VideoReport(**entry) for name, entry in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError.at(path, expected="the report of an earlier run", actual=str(error)) from error


def _write_report(path: Path, report: dict[str, VideoReport]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(
        json.dumps({name: asdict(video) for name, video in report.items()}, indent=1) + "\n", encoding="utf-8"
    )
    temporary.replace(path)
