"""How fast the stages are alone and together, on one video: `python -m tests.bench.pipeline VIDEO --json OUT`.

`ratio` is end to end divided by the slowest stage alone, each stage with the threads that it has in the pipeline and
the machine to itself. Where the stages share few cores the pipeline cannot be faster than all their work divided by the
cores, however well it overlaps: `core_bound_fps` says where that is. Each figure is the median of `--rounds`, in which
the measurements take turns, so that a disturbance of the machine meets all of them. With `--memory` the video is
repeated to one and to ten minutes, and each analysed once in a process of its own, for the peak of its memory.
Settings are those of the worker (EMOCLIP_DEVICE and so on).
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Self, TypeVar

import av

from model.hardware import describe_hardware
from model.labels import CLIP_FRAMES
from tests.bench.report import describe_command
from worker.assembly import create_analyzer, create_limits
from worker.clips import FrameFaces, create_window
from worker.contract import JobOptions
from worker.decode import DecodeLimits, Frame, iter_frames
from worker.index import fallback_plan
from worker.pipeline import Analyzer, compute_on_one_core, iter_batches, iter_frame_groups, iter_stitched
from worker.settings import WorkerSettings
from worker.stages import iter_mapped

T = TypeVar("T")
R = TypeVar("R")

OPTIONS = JobOptions()
KEPT_BYTES = 512 << 20
"""Decoded frames kept for measuring detection without decoding."""


@dataclass(frozen=True, slots=True)
class Span:
    """One measurement."""

    items: int
    seconds: float
    cpu_seconds: float
    """Of this process and of its decoders."""

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.items / self.seconds


def cpu_seconds() -> float:
    """Processor time so far of this process and of the decoder processes that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(run: Callable[[], int]) -> Span:
    """Time a function that returns how many items it handled."""
    cpu, start = cpu_seconds(), time.perf_counter()
    items = run()
    return Span(items, time.perf_counter() - start, cpu_seconds() - cpu)


class Bench:
    """The stages of the pipeline, each runnable alone on one video."""

    def __init__(self, analyzer: Analyzer, path: Path, limits: DecodeLimits) -> None:
        self.analyzer = analyzer
        self._path = path
        self._limits = limits
        self.frames = self._keep_frames()
        seen = (face for frames in self.frames for face in analyzer.detect(frames, OPTIONS))
        self.windows = [create_window(frames) for frames in iter_batches(seen, CLIP_FRAMES)]
        self.faces = sum(len(clip.crops) for window in self.windows for clip in window.clips)

    def decode(self) -> int:
        """Decode the video."""
        return sum(1 for _ in iter_frames(self._path, fallback_plan(), sample_fps=None, limits=self._limits))

    def detect(self) -> int:
        """Find and align the faces of the kept frames."""

        def work(frames: list[Frame]) -> list[FrameFaces]:
            return self.analyzer.detect(frames, OPTIONS)

        return sum(len(seen) for seen in _run(work, self.frames, self.analyzer.threads.detection))

    def predict(self) -> int:
        """Run the network over the faces of the kept frames; counts frames."""
        size = self.analyzer.threads.windows_per_prediction
        batches = [self.windows[i : i + size] for i in range(0, len(self.windows), size)]
        done = _run(self.analyzer.predict, batches, self.analyzer.threads.network)
        return sum(len(window.frames) for batch in done for window, _ in batch)

    def analyse(self) -> int:
        """Everything, overlapped."""
        return analyse(self.analyzer, self._path, self._limits)

    def _keep_frames(self) -> list[list[Frame]]:
        kept: list[list[Frame]] = []
        size = 0
        frames = iter_frames(self._path, fallback_plan(), sample_fps=None, limits=self._limits)
        for group in iter_frame_groups(frames):
            size += sum(frame.image.nbytes for frame in group)
            if kept and size > KEPT_BYTES:
                break
            kept.append(group)
        frames.close()
        return kept


def _run(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Work in as many threads, set up alike, as the pipeline does."""
    with ThreadPoolExecutor(threads, initializer=compute_on_one_core) as executor:
        yield from iter_mapped(work, iter(items), executor=executor, ahead=threads + 1)


def analyse(analyzer: Analyzer, path: Path, limits: DecodeLimits) -> int:
    """Analyse a video, keep nothing, and return the number of its rows."""
    return sum(len(segment.rows) for segment in iter_stitched(analyzer, path, OPTIONS, limits))


def compare_stages(bench: Bench, *, rounds: int) -> dict[str, object]:
    """Measure every stage and the whole in turns."""
    stages = {
        "decode": bench.decode,
        "detection": bench.detect,
        "network": bench.predict,
        "end_to_end": bench.analyse,
    }
    spans: dict[str, list[Span]] = {name: [] for name in stages}
    for _ in range(rounds):
        for name, run in stages.items():
            spans[name].append(measure(run))
    fps = {name: median(span.rate for span in each) for name, each in spans.items()}
    cpu_ms = {name: 1000 * median(span.cpu_seconds / span.items for span in each) for name, each in spans.items()}
    slowest = min(("decode", "detection", "network"), key=fps.__getitem__)
    kept_frames = sum(len(frames) for frames in bench.frames)
    return {
        "frames": spans["end_to_end"][0].items,
        "faces_per_frame": round(bench.faces / kept_frames, 3),
        "decode_fps": round(fps["decode"], 1),
        "detection_fps": round(fps["detection"], 1),
        "network_fps": round(fps["network"], 1),
        "network_faces_per_second": round(fps["network"] * bench.faces / kept_frames, 1),
        "end_to_end_fps": round(fps["end_to_end"], 1),
        "slowest_stage": slowest,
        "ratio": round(fps["end_to_end"] / fps[slowest], 3),
        "core_bound_fps": round(1000 * len(os.sched_getaffinity(0)) / cpu_ms["end_to_end"], 1),
        "cpu_ms_per_frame": {name: round(ms, 2) for name, ms in cpu_ms.items()},
    }


class MemoryWatch:
    """Looks at the peaks of this process and of its decoders while a context runs.

    Not by getrusage(): for children it reports at least the parent's size at the fork.
    """

    def __init__(self) -> None:
        self.peaks_mib = {"analyser": 0, "decoder": 0}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            children = [pid for tasks in Path("/proc/self/task").glob("*/children") for pid in _read(tasks).split()]
            for who, pids in (("analyser", ["self"]), ("decoder", children)):
                self.peaks_mib[who] = max(self.peaks_mib[who], *(_peak_mib(pid) for pid in pids), 0)


def _peak_mib(pid: str) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", _read(Path(f"/proc/{pid}/status")))
    return int(found[1]) >> 10 if found else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # that thread or process has just ended
        return ""


def repeat_video(source: Path, target: Path, *, seconds: float) -> Path:
    """Copy the packets of a video again and again until it is so long."""
    with av.open(str(target), "w") as output:
        with av.open(str(source)) as container:
            stream = output.add_stream_from_template(container.streams.video[0])
        shift = 0.0
        while shift < seconds:
            with av.open(str(source)) as container:
                given = container.streams.video[0]
                assert given.time_base is not None
                offset, end = round(shift / given.time_base), 0
                for packet in container.demux(given):
                    if packet.pts is None or packet.dts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    output.mux(packet)
                shift += float(end * given.time_base)
    return target


def compare_memory(source: Path) -> dict[str, object]:
    """Peak memory for one and for ten minutes of the video, each in a process of its own."""
    peaks: dict[int, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            video = repeat_video(source, Path(folder) / f"{minutes}.mkv", seconds=60 * minutes)
            command = [sys.executable, "-m", "tests.bench.pipeline", str(video), "--only-memory"]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks[minutes] = json.loads(answer)
    growth = {who: round(peaks[10][who] / peaks[1][who], 3) for who in peaks[1]}
    return {"one_minute_mib": peaks[1], "ten_minutes_mib": peaks[10], "growth": growth}


def main() -> None:
    """Run the benchmark and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="also compare one minute with ten (takes minutes)")
    parser.add_argument("--only-memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    settings = WorkerSettings()
    limits = create_limits(settings)
    analyzer = create_analyzer(settings)
    if arguments.only_memory:
        with MemoryWatch() as memory:
            analyse(analyzer, arguments.video, limits)
        print(json.dumps(memory.peaks_mib))  # noqa: T201  # what the parent process reads
        return
    # The whole first: it warms everything up, and its peak of memory must not count the frames kept below.
    with MemoryWatch() as memory:
        analyse(analyzer, arguments.video, limits)
    result = {
        "video": arguments.video.name,
        "command": describe_command("tests.bench.pipeline"),
        "hardware": {**describe_hardware(analyzer.predictor.device), "load_average": os.getloadavg()[0]},
        "dtype": str(analyzer.predictor.dtype).removeprefix("torch."),
        "threads": asdict(analyzer.threads),
        "model": analyzer.version.model_dump(),
        **compare_stages(Bench(analyzer, arguments.video, limits), rounds=arguments.rounds),
        "peak_memory_mib": memory.peaks_mib,
    }
    if arguments.memory:
        result["memory_by_length"] = compare_memory(arguments.video)
    text = json.dumps(result, indent=2)
    print(text)  # noqa: T201  # a command's output
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
