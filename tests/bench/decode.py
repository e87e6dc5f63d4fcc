"""What the decoder's sandbox costs: `python -m tests.bench.decode VIDEO... --json OUT`.

Every frame of each video is decoded to an RGB array twice, by PyAV in this process and by worker.decode through its
child process and shared memory, with the same number of threads, in turns; the figures are medians of `--rounds`. As in
a worker, one child waits ahead, and the next one is started beside the decoding. `ratio` is of whole videos,
`steady_ratio` begins with the first frame. Without VIDEO, two are made: a small
one and one of 1920 x 1080. `load_average` tells whether the machine was free, and `priority` whether that mattered.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch
from numpy.typing import NDArray

from model.hardware import describe_hardware
from tests.bench.report import describe_command, describe_priority
from tests.videos import SMALL_GOP, face_scene, write_video
from worker.decode import DecodeLimits, iter_frames
from worker.decoder_start import drop_spare, keep_spare
from worker.index import fallback_plan

SPARE_SECONDS = 1.0
"""What a child started ahead has to get ready; a worker starts it at least a segment's analysis ahead."""


def iter_in_process(path: Path, *, threads: int) -> Iterator[NDArray[np.uint8]]:
    """Yield every frame as PyAV alone gives it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = threads
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def iter_sandboxed(path: Path, *, threads: int) -> Iterator[NDArray[np.uint8]]:
    """Yield every frame as the worker gets it."""
    frames = iter_frames(path, fallback_plan(), sample_fps=None, limits=DecodeLimits(threads=threads))
    return (frame.image for frame in frames)


def time_frames(images: Iterator[NDArray[np.uint8]]) -> tuple[int, float, float]:
    """Return the number of frames, the seconds to the first one, and the seconds of all."""
    begin = time.perf_counter()
    next(images)
    first = time.perf_counter()
    count = 1 + sum(1 for _ in images)
    return count, first - begin, time.perf_counter() - begin


def measure(path: Path, *, rounds: int, threads: int) -> dict[str, float | str]:
    """Compare both ways on one video."""
    plain, boxed = [], []
    for _ in range(rounds):
        drop_spare()  # nothing starts beside the one that has no child
        plain.append(time_frames(iter_in_process(path, threads=threads)))
        keep_spare()
        time.sleep(SPARE_SECONDS)
        boxed.append(time_frames(iter_sandboxed(path, threads=threads)))
    count = plain[0][0]
    if {frames for frames, _, _ in plain + boxed} != {count}:
        raise RuntimeError(f"expected {count} frames every time, got {plain = }, {boxed = }")
    plain_fps = median(count / seconds for _, _, seconds in plain)
    boxed_fps = median(count / seconds for _, _, seconds in boxed)
    plain_steady_fps = median((count - 1) / (seconds - first) for _, first, seconds in plain)
    boxed_steady_fps = median((count - 1) / (seconds - first) for _, first, seconds in boxed)
    return {
        "video": path.name,
        "frames": count,
        "in_process_fps": round(plain_fps, 1),
        "sandboxed_fps": round(boxed_fps, 1),
        "ratio": round(boxed_fps / plain_fps, 3),
        "steady_ratio": round(boxed_steady_fps / plain_steady_fps, 3),
        "first_frame_seconds": round(median(first for _, first, _ in boxed), 3),
    }


def make_videos(folder: Path) -> list[Path]:
    """Write the videos of the default run."""
    sizes = {"640x360.mp4": (640, 360, 1500), "1920x1080.mp4": (1920, 1080, 300)}
    return [
        write_video(folder / name, frames, scene=face_scene(width=width, height=height), options=SMALL_GOP)
        for name, (width, height, frames) in sizes.items()
    ]


def main() -> int:
    """Print the figures as JSON, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = options.videos or make_videos(Path(folder))
        results = [measure(path, rounds=options.rounds, threads=options.threads) for path in paths]
        drop_spare()
    report = {
        "command": describe_command("tests.bench.decode"),
        "hardware": describe_hardware(torch.device("cpu")),
        "load_average": os.getloadavg()[0],
        "priority": describe_priority(),
        "threads": options.threads,
        "rounds": options.rounds,
        "results": results,
    }
    text = json.dumps(report, indent=2)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)  # noqa: T201  # a command line tool
    return 0


if __name__ == "__main__":
    sys.exit(main())
