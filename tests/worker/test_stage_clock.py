"""StageClock: each stage's seconds add up over threads, and a real analysis fills all of them."""

import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.model.miniature import write_tiny_checkpoint
from tests.videos import face_scene, write_constant_rate
from worker.assembly import create_analyzer, create_limits
from worker.contract import JobOptions
from worker.index import fallback_plan
from worker.settings import WorkerSettings
from worker.stage_clock import Stage, StageClock


def test_threads_of_a_stage_add_up() -> None:
    clock = StageClock()
    together = threading.Barrier(4)

    def work() -> None:
        with clock.measure(Stage.DETECT):
            together.wait()
            time.sleep(0.02)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    work_done = clock.read()
    assert work_done.stage_seconds[Stage.DETECT] >= 4 * 0.02
    assert work_done.stage_seconds[Stage.NETWORK] == 0
    assert work_done.seconds >= 0.02


def test_time_that_fails_counts() -> None:
    clock = StageClock()

    with pytest.raises(ConnectionError), clock.measure(Stage.NETWORK):
        raise ConnectionError

    assert clock.read().stage_seconds[Stage.NETWORK] > 0


def test_measured_items_are_the_same_and_are_closed() -> None:
    closed = []

    def count() -> Generator[int, None, None]:
        try:
            yield from range(3)
        finally:
            closed.append(True)

    clock = StageClock()
    assert list(clock.iter_measured(Stage.DECODE, count())) == [0, 1, 2]
    measured = clock.iter_measured(Stage.DECODE, count())
    next(measured)
    measured.close()

    assert closed == [True, True]
    assert clock.read().stage_seconds[Stage.DECODE] > 0


def test_analysis_fills_every_stage(tmp_path: Path) -> None:
    settings = WorkerSettings(
        device="cpu", weights=write_tiny_checkpoint(tmp_path / "tiny.safetensors"), long_side=320, upscale_to=320
    )
    video = write_constant_rate(tmp_path / "face.mp4", 8, scene=face_scene())
    clock = StageClock()

    create_analyzer(settings).analyse_segment(
        video, fallback_plan(), JobOptions(), create_limits(settings), clock=clock
    )

    work = clock.read()
    assert all(seconds > 0 for seconds in work.stage_seconds.values())
    assert work.stage_seconds[Stage.DECODE] < work.seconds
