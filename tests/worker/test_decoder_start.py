"""The spare decoder process: used for exactly one video, replaced, never in the way, gone with its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import videos
from tests.worker.jobs import poll
from tests.worker.test_decode import decoder_pids
from worker.decode import DecodeLimits, iter_frames
from worker.decode_messages import DecodeRequest, Kind
from worker.decode_process import DecoderProcess, open_video
from worker.decoder_start import drop_spare, keep_spare
from worker.index import fallback_plan

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 24
LIMITS = DecodeLimits()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return videos.write_constant_rate(tmp_path_factory.mktemp("video") / "video.mp4", FRAMES)


@pytest.fixture
def spare() -> Iterator[int]:
    """Process id of the decoder that waits."""
    keep_spare()
    (waiting,) = decoder_pids()
    yield waiting
    drop_spare()
    assert decoder_pids() == []


def count_frames(video: Path) -> int:
    return sum(1 for _ in iter_frames(video, fallback_plan(), sample_fps=None, limits=LIMITS))


def test_spare_decodes_one_video_and_another_one_waits(spare: int, video: Path) -> None:
    frames = iter_frames(video, fallback_plan(), sample_fps=None, limits=LIMITS)
    next(frames)
    during = decoder_pids()
    frames.close()
    after = decoder_pids()

    assert spare in during
    assert len(during) == 2
    assert after == [process for process in during if process != spare]


def test_spare_that_died_is_replaced(spare: int, video: Path) -> None:
    os.kill(spare, signal.SIGKILL)

    assert count_frames(video) == FRAMES


def test_without_a_spare_nothing_waits(video: Path) -> None:
    assert count_frames(video) == FRAMES
    assert decoder_pids() == []


def test_spare_ends_with_its_parent() -> None:
    code = """
import os, signal
from tests.worker.test_decoder_start import decoder_pids, keep_spare
keep_spare()
print(*decoder_pids(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    command = Path(f"/proc/{int(done.stdout)}/cmdline")

    assert poll(lambda: not command.exists() or command.read_bytes() == b"", seconds=60)


@pytest.fixture
def create_decoder(video: Path) -> Iterator[Callable[[], DecoderProcess]]:
    """Make a process that indexes the video."""
    descriptor = open_video(video)

    def create() -> DecoderProcess:
        request = DecodeRequest(
            video_fd=descriptor,
            max_pixels=LIMITS.max_pixels,
            max_duration_seconds=LIMITS.max_duration_seconds,
            max_frames=LIMITS.max_frames,
            memory_bytes=LIMITS.memory_bytes,
            cpu_seconds=LIMITS.cpu_seconds,
            threads=LIMITS.threads,
        )
        return DecoderProcess(request, limits=LIMITS)

    yield create
    os.close(descriptor)


def test_a_process_that_dies_before_it_reads_the_video_is_started_again(
    create_decoder: Callable[[], DecoderProcess],
) -> None:
    with create_decoder() as decoder:
        os.kill(decoder.pid, signal.SIGKILL)  # importing Python alone takes longer than this

        assert [kind for kind, _ in decoder.messages()] == [Kind.INDEX]


def test_a_process_that_cannot_start_is_a_fault_of_ours_not_of_the_video(
    create_decoder: Callable[[], DecoderProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with create_decoder() as decoder, pytest.raises(RuntimeError, match="could not start"):
        list(decoder.messages())
