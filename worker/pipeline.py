"""Analyse a video or a segment of one: decoding, detection with alignment, and the network, overlapped.

The unit of work is the window of 8 analysed frames. Decoding runs in its child process, fed into windows by one
thread; detection and network run in threads that each compute on one core, several windows at a time where there are
more cores. PyTorch's own threading inside an operator is not used: where its threads have to share cores with the
other stages they wait for each other, and were 3 to 20 times slower than one thread.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.labels import CLIP_FRAMES
from worker.clips import FrameFaces, Window, create_window, cut_out_faces
from worker.contract import FrameRow, JobOptions, SegmentPlan, SegmentRows, StitchState, VideoFacts
from worker.decode import DecodeLimits, Frame, iter_frames
from worker.errors import JobCanceledError, UndecodableError
from worker.faces import FaceDetector
from worker.index import VideoIndex, fallback_plan, index_video
from worker.predictor import Predictor
from worker.provenance import describe_model
from worker.rows import SegmentBuilder
from worker.stage_clock import Stage, StageClock
from worker.stages import iter_ahead, iter_mapped
from worker.tracking import stitch

T = TypeVar("T")
Probabilities = list[NDArray[np.float32]]
OnProgress = Callable[[int], None]
ShouldStop = Callable[[], bool]
OnSign = Callable[[], object]


GROUP_BYTES = 32 << 20
"""Frames decoded but not yet searched for faces move in groups of at most so many bytes (or of one frame): 8 of 720p,
5 and 3 of 1080p, 1 of 4K. Six groups exist at most, which bounds the memory for large pictures."""
WINDOWS_AT_ONCE = 4
"""Windows between two looks at the progress of a video analysed in this process."""


@dataclass(frozen=True, slots=True)
class Threads:
    """How many windows each stage works on at once, one thread each."""

    detection: int
    network: int
    windows_per_prediction: int = 1
    """Windows whose clips go to the network together: on CUDA a pass holds more clips than one window mostly has."""


def choose_threads(device: torch.device) -> Threads:
    """Threads for this machine's cores: detection costs the most, then the network; decoding has its own process."""
    cores = len(os.sched_getaffinity(0))
    if device.type == "cuda":
        # The device does one thing at a time; more threads only keep it fed, by scaling and aligning on the CPU.
        return Threads(detection=max(1, min(4, cores // 2)), network=1, windows_per_prediction=4)
    return Threads(detection=max(1, cores - 1), network=max(1, cores // 2))


class Analyzer:
    """The loaded networks and how to run them; made once in a process, then used for any number of segments."""

    def __init__(self, detector: FaceDetector, predictor: Predictor, *, threads: Threads | None = None) -> None:
        self.detector = detector
        self.predictor = predictor
        self.threads = threads or choose_threads(predictor.device)
        self.version = describe_model(detector, predictor)

    def analyse_segment(
        self,
        path: Path,
        plan: SegmentPlan,
        options: JobOptions,
        limits: DecodeLimits,
        *,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
        on_sign: OnSign | None = None,
        clock: StageClock | None = None,
    ) -> SegmentRows:
        """Analyse one segment; the numbers in the rows are tracklets for `tracking.stitch`.

        `on_progress` is called with the number of frames done so far; `should_stop` is asked, in the calling thread,
        once a window and four times a second while waiting for the decoder; `on_sign` is called, in any thread, when a
        stage got on with its work; `clock` learns how long the stages worked.

        Raises:
            AnalysisError: the video cannot be analysed.
            IndexMismatchError: the decoder's frames are not those of the plan.
            JobCanceledError: `should_stop` said so.
        """
        builder = SegmentBuilder(plan.segment)
        windows = self.iter_windows(path, plan, options, limits, should_stop=should_stop, on_sign=on_sign, clock=clock)
        with closing(windows):
            for window, probabilities in windows:
                builder.add(window, probabilities)
                if on_progress is not None:
                    on_progress(len(builder))
        return builder.build()

    def iter_windows(
        self,
        path: Path,
        plan: SegmentPlan,
        options: JobOptions,
        limits: DecodeLimits,
        *,
        should_stop: ShouldStop | None = None,
        on_sign: OnSign | None = None,
        clock: StageClock | None = None,
    ) -> Generator[tuple[Window, Probabilities], None, None]:
        """Yield a segment's windows with the probabilities of their clips, in order; nothing of them is kept."""
        clock = clock or StageClock()
        sign = on_sign or (lambda: None)

        def check() -> None:
            if should_stop is not None and should_stop():
                raise JobCanceledError("the job was canceled")

        def decode(is_closed: Callable[[], bool]) -> Generator[list[Frame], None, None]:
            frames = iter_frames(
                path, plan, sample_fps=options.sample_fps, limits=limits, should_stop=is_closed, on_sign=sign
            )
            return iter_frame_groups(clock.iter_measured(Stage.DECODE, frames))

        def detect(frames: Sequence[Frame]) -> list[FrameFaces]:
            with clock.measure(Stage.DETECT):
                found = self.detect(frames, options)
            sign()
            return found

        def predict(windows: Sequence[Window]) -> list[tuple[Window, Probabilities]]:
            with clock.measure(Stage.NETWORK):
                predicted = self.predict(windows)
            sign()
            return predicted

        threads = self.threads
        with ExitStack() as stack:
            decoded = stack.enter_context(closing(iter_ahead(decode, capacity=2, check=check)))
            detection, network = (
                stack.enter_context(ThreadPoolExecutor(count, name, initializer=compute_on_one_core))
                for name, count in (("detect", threads.detection), ("predict", threads.network))
            )
            seen = stack.enter_context(
                closing(iter_mapped(detect, decoded, executor=detection, ahead=threads.detection + 1))
            )
            windows = map(create_window, iter_batches(chain.from_iterable(seen), CLIP_FRAMES))
            batches = iter_batches(windows, threads.windows_per_prediction)
            predicted = stack.enter_context(
                closing(iter_mapped(predict, batches, executor=network, ahead=threads.network + 1))
            )
            check()
            for batch in predicted:
                for window, probabilities in batch:
                    yield window, probabilities
                    check()

    def detect(self, frames: Sequence[Frame], options: JobOptions) -> list[FrameFaces]:
        """Find and cut out the faces of a group of frames."""
        found = self.detector.detect([frame.image for frame in frames])
        return [cut_out_faces(frame, faces, options) for frame, faces in zip(frames, found, strict=True)]

    def predict(self, windows: Sequence[Window]) -> list[tuple[Window, Probabilities]]:
        """Each window with the probabilities of its clips."""
        probabilities = iter(self.predictor.predict([clip.crops for window in windows for clip in window.clips]))
        return [(window, list(islice(probabilities, len(window.clips)))) for window in windows]


@dataclass(frozen=True, slots=True)
class VideoAnalysis:
    """A whole video, analysed in this process."""

    facts: VideoFacts
    rows: list[FrameRow]
    index: VideoIndex


def analyse_video(
    analyzer: Analyzer,
    path: Path,
    options: JobOptions,
    limits: DecodeLimits,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> VideoAnalysis:
    """Analyse a video in this process; the rows are those that any number of workers would make.

    `on_progress` is called with the frames done and their total, which is an estimate for odd files.

    Raises:
        AnalysisError: the video cannot be analysed.
        JobCanceledError: `should_stop` said so.
    """
    index = index_video(path, sample_fps=options.sample_fps, limits=limits, should_stop=should_stop)
    rows: list[FrameRow] = []
    for segment in iter_stitched(analyzer, path, options, limits, should_stop=should_stop):
        rows += segment.rows
        if on_progress is not None:
            on_progress(len(rows), max(len(rows), index.analysed_frames))
    if not rows:
        raise UndecodableError("Not one frame of the video can be decoded: it is empty or damaged.")
    return VideoAnalysis(index.facts().counted(len(rows), options), rows, index)


def iter_stitched(
    analyzer: Analyzer,
    path: Path,
    options: JobOptions,
    limits: DecodeLimits,
    *,
    should_stop: ShouldStop | None = None,
) -> Generator[SegmentRows, None, None]:
    """Yield a video's rows with final track numbers, a few windows at a time, from one decoding pass; nothing is kept.

    Raises:
        AnalysisError: the video cannot be analysed.
        JobCanceledError: `should_stop` said so.
    """
    state = StitchState()
    with closing(analyzer.iter_windows(path, fallback_plan(), options, limits, should_stop=should_stop)) as windows:
        while some := list(islice(windows, WINDOWS_AT_ONCE)):
            builder = SegmentBuilder(state.next_segment)
            for window, probabilities in some:
                builder.add(window, probabilities)
            segment, state = stitch(state, builder.build())
            yield segment


def iter_frame_groups(frames: Generator[Frame, None, None]) -> Generator[list[Frame], None, None]:
    """Group frames of one size for the detector, never over the border of a window; closing it closes the frames.

    What is grouped depends on the frames' sizes and on the global grid alone, so that it is the same in every segment.
    """
    with closing(frames):
        group: list[Frame] = []
        for position, frame in enumerate(frames):
            if group and frame.image.shape != group[0].image.shape:
                yield group
                group = []
            group.append(frame)
            if len(group) >= GROUP_BYTES // frame.image.nbytes or (position + 1) % CLIP_FRAMES == 0:
                yield group
                group = []
        if group:
            yield group


def iter_batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Group items, the last group maybe smaller."""
    while batch := list(islice(items, size)):
        yield batch


def compute_on_one_core() -> None:
    """Keep this thread's operators on one core; OpenCV's pool is the process's, so it is switched off for all."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
