"""StageClock: for how long each stage of the pipeline worked on a segment, its threads added up.

Stages overlap, so the sum may be more than the time that passed. `decode` is the time in which the analysis waited for
frames of the decoder process: what decoding costs it, not what the other process computed ahead.
"""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

__all__ = ["SegmentWork", "Stage", "StageClock"]

T = TypeVar("T")


class Stage(StrEnum):
    """The stages of the pipeline."""

    DECODE = "decode"
    DETECT = "detect"
    """With alignment."""
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class SegmentWork:
    """What the analysis of a segment took."""

    seconds: float
    """From beginning to end."""
    stage_seconds: dict[Stage, float]


class StageClock:
    """Measures one segment; safe to use from the threads of all stages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = dict.fromkeys(Stage, 0.0)
        self._started = time.perf_counter()

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Count the time inside the context."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - begin)

    def iter_measured(self, stage: Stage, items: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the items and count the time that each took to come; closing it closes them."""
        with closing(items):
            while True:
                with self.measure(stage):
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item

    def read(self) -> SegmentWork:
        """Return what was measured up to now."""
        with self._lock:
            return SegmentWork(time.perf_counter() - self._started, dict(self._seconds))

    def _add(self, stage: Stage, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] += seconds
