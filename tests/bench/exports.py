"""What results and annotated videos cost: `python -m tests.bench.exports --json OUT`.

Each format writes `--rows` rows of one face; each annotated video draws one face into every frame of a video with
sound, of two lengths. `grown_mib` is how far this process' memory rose at most while it wrote, `children_mib` the
largest memory of the decoding and the muxing process: both must not follow the length. `load_average` tells
whether the machine was free.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from app.exports.captions import CaptionOptions
from app.exports.formats import ExportFormat, iter_export
from app.palette import EMOTION_COLORS
from model.labels import EMOTIONS
from tests.app.results import create_head
from tests.app.rows import create_face
from tests.bench.report import write_report
from tests.videos import face_scene, write_with_sound
from worker.contract import FrameRow
from worker.decode import DecodeLimits
from worker.index import index_video
from worker.overlay import OverlayOptions, write_overlay

FRAMES_A_SPAN = 50


def iter_rows(count: int) -> Iterator[FrameRow]:
    """Yield rows of one face whose expression changes every two seconds."""
    faces = [create_face(1, emotion) for emotion in EMOTIONS]
    for frame in range(count):
        face = faces[frame // FRAMES_A_SPAN % len(faces)]
        yield FrameRow(frame=frame, pts_seconds=round(frame / 25, 6), faces=(face,))


def read_peak_mib(process: str = "self") -> float:
    """Return the highest memory of a process since it was last forgotten, 0 where there is none any more."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return max((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0)


def read_children_mib() -> float:
    """Return the highest memory of any process that this one has started and that still runs."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return max((read_peak_mib(child) for child in children), default=0.0)


def forget_peak() -> float:
    """Let the peak count from now; return where it begins."""
    Path("/proc/self/clear_refs").write_text("5")
    return read_peak_mib()


def measure_format(export_format: ExportFormat, rows: int) -> dict[str, float | str]:
    """Write one format to nowhere."""
    begin_mib, begin = forget_peak(), time.perf_counter()
    size = sum(
        len(piece)
        for piece in iter_export(export_format, create_head(rows=rows), iter_rows(rows), captions=CaptionOptions())
    )
    seconds = time.perf_counter() - begin
    return {
        "format": export_format.value,
        "rows_per_second": round(rows / seconds),
        "megabytes": round(size / 1e6, 1),
        "grown_mib": round(read_peak_mib() - begin_mib, 1),
    }


def measure_overlay(folder: Path, *, width: int, height: int, frames: int) -> dict[str, float | str]:
    """Annotate one video."""
    video = write_with_sound(folder / "source.mp4", frames, scene=face_scene(width=width, height=height))
    limits = DecodeLimits()
    index = index_video(video, sample_fps=None, limits=limits)
    rows = list(iter_rows(frames))
    children_mib = 0.0

    def look(done: int, total: int) -> None:
        nonlocal children_mib
        if done % 50 == 0:
            children_mib = max(children_mib, read_children_mib())

    begin_mib, begin = forget_peak(), time.perf_counter()
    options = OverlayOptions(EMOTION_COLORS)
    sound = write_overlay(video, folder / "out.mp4", rows, index, options, limits, on_progress=look)
    seconds = time.perf_counter() - begin
    return {
        "video": f"{width}x{height}",
        "frames": frames,
        "sound": sound,
        "frames_per_second": round(frames / seconds, 1),
        "grown_mib": round(read_peak_mib() - begin_mib, 1),
        "children_mib": round(children_mib, 1),
    }


def main() -> int:
    """Print the figures as JSON, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument(
        "--frames", type=int, default=250, help="of the shorter videos; the longer have four times as many"
    )
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args()
    formats = [
        measure_format(export_format, rows)
        for export_format in ExportFormat
        for rows in (options.rows // 4, options.rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        overlays = [
            measure_overlay(Path(folder), width=width, height=height, frames=frames)
            for width, height in ((640, 360), (1920, 1080))
            for frames in (options.frames, 4 * options.frames)
        ]
    write_report("tests.bench.exports", {"formats": formats, "overlays": overlays}, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
