"""Frames from the decoder process: the right ones, upright, the same however the video is cut; and it obeys."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from tests.worker.jobs import poll
from worker import errors
from worker.contract import SegmentPlan
from worker.decode import DecodeLimits, Frame, iter_frames
from worker.decode_messages import SLOTS
from worker.index import Sampler, fallback_plan, index_video, plan_segments

ROOT = Path(__file__).resolve().parents[2]
LIMITS = DecodeLimits()


def decode_all(path: Path, *, sample_fps: float | None = None, limits: DecodeLimits = LIMITS) -> list[Frame]:
    return list(iter_frames(path, fallback_plan(), sample_fps=sample_fps, limits=limits))


def decode_in_segments(path: Path, *, sample_fps: float | None = None, segment_frames: int = 16) -> list[Frame]:
    index = index_video(path, sample_fps=sample_fps, limits=LIMITS)
    plans = plan_segments(index, segment_frames=segment_frames)
    return [frame for plan in plans for frame in iter_frames(path, plan, sample_fps=sample_fps, limits=LIMITS)]


def burnt_numbers(frames: list[Frame]) -> list[int]:
    return [videos.read_number(frame.image) for frame in frames]


def assert_same(first: list[Frame], second: list[Frame]) -> None:
    assert [(frame.number, frame.pts_seconds) for frame in first] == [(f.number, f.pts_seconds) for f in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


MPEG_GOP = {"g": "12", "bf": "2"}
WRITERS: dict[str, Callable[[Path], Path]] = {
    "constant.mp4": videos.write_constant_rate,
    "variable.mp4": videos.write_variable_rate,
    "variable.mkv": videos.write_variable_rate,
    "open_gop.mp4": videos.write_open_gop,
    "open_gop.mkv": videos.write_open_gop,
    "open_gop.ts": videos.write_open_gop,
    "intra_refresh.mp4": videos.write_intra_refresh,
    "hidden_start.mp4": videos.write_negative_start,
    "without_pts.avi": videos.write_without_pts,
    "size_change.ts": videos.write_size_change,
    "mpeg1.mpg": lambda path: videos.write_video(path, 48, codec="mpeg1video", options=MPEG_GOP),
    "mpeg2.ts": lambda path: videos.write_video(path, 48, codec="mpeg2video", options=MPEG_GOP),
    "mpeg4.avi": lambda path: videos.write_video(path, 48, codec="mpeg4", options={"g": "12"}),
    "vp8.webm": lambda path: videos.write_video(
        path, 48, codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16", "g": "24", "cpu-used": "8"}
    ),
    "vp9.webm": lambda path: videos.write_video(path, 48, codec="libvpx-vp9", options={"g": "12", "cpu-used": "8"}),
    "prores.mov": lambda path: videos.write_video(path, 24, codec="prores_ks", pixel_format="yuv422p10le"),
}


@pytest.fixture(scope="module", params=WRITERS)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return WRITERS[request.param](tmp_path_factory.mktemp("videos") / request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return videos.write_constant_rate(tmp_path / "plain.mp4")


@pytest.mark.parametrize("decode_video", [decode_all, decode_in_segments])
@pytest.mark.parametrize("sample_fps", [None, 7.3])
def test_iter_frames_equals_a_plain_sequential_decode(
    decode_video: Callable[..., list[Frame]], sample_fps: float | None, video: Path
) -> None:
    sampler = Sampler(sample_fps)
    expected = [
        Frame(number=number, pts_seconds=seconds, image=picture)
        for number, (seconds, picture) in enumerate(videos.reference_frames(video))
        if sampler.keep(seconds)
    ]

    assert_same(decode_video(video, sample_fps=sample_fps), expected)


def test_iter_frames_delivers_the_burnt_numbers(plain: Path) -> None:
    frames = decode_in_segments(plain)

    assert burnt_numbers(frames) == [frame.number for frame in frames] == list(range(48))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_iter_frames_turns_pictures_upright(degrees: int, tmp_path: Path) -> None:
    frames = decode_in_segments(videos.write_rotated(tmp_path / "video.mp4", degrees))

    assert burnt_numbers(frames) == list(range(16))
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}


def test_iter_frames_undoes_a_mirror(tmp_path: Path) -> None:
    frames = decode_all(videos.write_mirrored(tmp_path / "video.mp4"))

    assert burnt_numbers(frames) == list(range(16))


@pytest.mark.parametrize("matrix", [(0.0, 0.0, 0.0, 0.0), (0.7, 0.7, -0.7, 0.7), (32767.0, -32768.0, 1.0, 0.0)])
def test_iter_frames_ignores_an_absurd_display_matrix(
    matrix: tuple[float, float, float, float], tmp_path: Path
) -> None:
    path = videos.set_display_matrix(videos.write_constant_rate(tmp_path / "video.mp4", 8), matrix)

    assert burnt_numbers(decode_all(path)) == list(range(8))


def test_iter_frames_follows_a_change_of_size(tmp_path: Path) -> None:
    frames = decode_all(videos.write_size_change(tmp_path / "video.ts"))

    assert burnt_numbers(frames) == list(range(24))
    assert [frame.image.shape[:2] for frame in frames] == [(120, 160)] * 12 + [(240, 320)] * 12


def test_iter_frames_gives_times_to_frames_without_any(tmp_path: Path) -> None:
    # Matroska cannot store negative times; FFmpeg reads them as missing
    path = videos.write_negative_start(tmp_path / "video.mkv", 20, hidden=5)

    frames = decode_all(path)

    assert burnt_numbers(frames) == list(range(20))
    assert frames[0].pts_seconds == 0
    assert np.diff([frame.pts_seconds for frame in frames]).min() > 0


@pytest.mark.parametrize("keep", [0.9, 0.6, 0.3])
def test_iter_frames_of_a_cut_file_delivers_what_is_left(keep: float, tmp_path: Path) -> None:
    path = videos.truncate(videos.write_constant_rate(tmp_path / "video.mkv"), keep=keep)

    frames = decode_in_segments(path)

    assert len(frames) > 0
    assert len(frames) == len(list(videos.reference_frames(path)))


def test_iter_frames_with_several_threads_gives_the_same(plain: Path) -> None:
    assert_same(decode_all(plain, limits=DecodeLimits(threads=4)), decode_all(plain))


def test_iter_frames_owns_its_images(plain: Path) -> None:
    frames = decode_all(plain)

    assert all(frame.image.flags.owndata and frame.image.flags.writeable for frame in frames)
    assert len(frames) > 2 * SLOTS


def test_two_decoders_run_side_by_side(plain: Path) -> None:
    pair = zip(
        iter_frames(plain, fallback_plan(), sample_fps=None, limits=LIMITS),
        iter_frames(plain, fallback_plan(), sample_fps=None, limits=LIMITS),
        strict=True,
    )

    assert all(np.array_equal(a.image, b.image) for a, b in pair)


# the process


def decoder_pids() -> list[int]:
    """Decoder processes that this process has started and not yet buried."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if parent == os.getpid() and b"worker.decode_child" in command:
            found.append(int(folder.name))
    return found


@pytest.fixture
def running(plain: Path) -> Iterator[Generator[Frame, None, None]]:
    """An iterator that has delivered one frame of many."""
    frames = iter_frames(plain, fallback_plan(), sample_fps=None, limits=LIMITS)
    next(frames)
    yield frames
    frames.close()


def test_closing_the_iterator_kills_the_process(running: Generator[Frame, None, None]) -> None:
    (pid,) = decoder_pids()

    running.close()

    assert decoder_pids() == []
    assert not Path(f"/proc/{pid}").exists()


def test_a_finished_iterator_leaves_no_process(plain: Path) -> None:
    decode_all(plain)

    assert decoder_pids() == []


def test_the_process_knows_neither_path_nor_environment(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCLIP_SECRET", "hidden")
    frames = iter_frames(plain, fallback_plan(), sample_fps=None, limits=LIMITS)
    next(frames)
    (pid,) = decoder_pids()

    command, environment = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))

    frames.close()
    assert plain.name.encode() not in command
    assert b"EMOCLIP" not in environment


@pytest.mark.parametrize(("death", "was_killed"), [(signal.SIGSEGV, False), (signal.SIGKILL, True)])
def test_a_dead_process_has_crashed_or_was_killed(
    running: Generator[Frame, None, None], death: signal.Signals, was_killed: bool
) -> None:
    os.kill(decoder_pids()[0], death)

    with pytest.raises(errors.DecoderCrashedError) as raised:
        list(running)
    assert raised.value.was_killed is was_killed


def test_a_stopped_process_is_a_timeout(plain: Path) -> None:
    limits = DecodeLimits(stall_seconds=2)

    def stop_at_the_first_frame() -> None:
        for frame in iter_frames(plain, fallback_plan(), sample_fps=None, limits=limits):
            if frame.number == 0:
                os.kill(decoder_pids()[0], signal.SIGSTOP)

    # on a busy machine the process may be too slow before it is stopped: the same error
    with pytest.raises(errors.DecodeTimeoutError):
        stop_at_the_first_frame()
    assert decoder_pids() == []


def test_the_process_ends_when_its_parent_was_killed(plain: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from tests.worker.test_decode import LIMITS, decoder_pids, fallback_plan, iter_frames
frames = iter_frames(Path(sys.argv[1]), fallback_plan(), sample_fps=None, limits=LIMITS)
next(frames)
print(*decoder_pids(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(plain)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    decoder = Path(f"/proc/{int(done.stdout)}/cmdline")

    assert done.returncode == -signal.SIGKILL
    assert poll(lambda: not decoder.exists() or decoder.read_bytes() == b"", seconds=60)


def test_used_up_processor_time_is_a_timeout(running: Generator[Frame, None, None]) -> None:
    os.kill(decoder_pids()[0], signal.SIGXCPU)

    with pytest.raises(errors.DecodeTimeoutError):
        list(running)


def test_used_up_waiting_time_is_a_timeout(plain: Path) -> None:
    # less than one look at the clock takes, however fast the process is
    with pytest.raises(errors.DecodeTimeoutError):
        decode_all(plain, limits=DecodeLimits(wall_seconds=1e-9))


def test_a_slow_reader_does_not_use_up_waiting_time(plain: Path) -> None:
    pause = threading.Event()
    limits = DecodeLimits(stall_seconds=30, wall_seconds=30)
    frames = iter_frames(plain, fallback_plan(), sample_fps=None, limits=limits)
    next(frames)
    pause.wait(1.0)

    rest = list(frames)

    assert len(rest) == 47


def test_should_stop_ends_the_wait(plain: Path) -> None:
    stop = threading.Event()
    frames = iter_frames(plain, fallback_plan(), sample_fps=None, limits=LIMITS, should_stop=stop.is_set)
    next(frames)
    # asked only while waiting: a stopped process has sent no more pictures than fit into the shared memory
    os.kill(decoder_pids()[0], signal.SIGSTOP)
    stop.set()

    with pytest.raises(errors.JobCanceledError):
        list(frames)
    assert decoder_pids() == []


# limits


def test_iter_frames_refuses_too_many_pixels(plain: Path) -> None:
    with pytest.raises(errors.TooManyPixelsError):
        decode_all(plain, limits=DecodeLimits(max_pixels=160 * 120 - 1))


def test_iter_frames_holds_the_memory_limit(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "large.mp4", 4, scene=videos.numbered_scene(width=3840, height=2160))

    with pytest.raises(errors.AnalysisError):
        decode_all(path, limits=DecodeLimits(memory_bytes=32 << 20))
    assert decoder_pids() == []


def test_iter_frames_refuses_too_many_frames(plain: Path) -> None:
    with pytest.raises(errors.TooLongError):
        decode_all(plain, limits=DecodeLimits(max_frames=47))


def test_iter_frames_refuses_too_many_seconds(plain: Path) -> None:
    with pytest.raises(errors.TooLongError):
        decode_all(plain, limits=DecodeLimits(max_duration_seconds=1.5))


def test_iter_frames_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(errors.UploadMissingError):
        decode_all(tmp_path / "nothing")


def test_iter_frames_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(errors.UnsupportedMediaError):
        decode_all(tmp_path)


def test_iter_frames_refuses_a_pipe_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(errors.UnsupportedMediaError):
        decode_all(tmp_path / "pipe")


@pytest.mark.parametrize("content", [b"", b"\0", b"no video at all\n" * 100])
def test_iter_frames_refuses_what_is_no_video(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(errors.UnsupportedMediaError):
        decode_all(tmp_path / "file")


def test_iter_frames_refuses_a_codec_that_is_not_listed(tmp_path: Path) -> None:
    path = videos.write_video(tmp_path / "video.mkv", 4, codec="ffv1")

    with pytest.raises(errors.UnsupportedMediaError, match="ffv1"):
        decode_all(path)


def test_a_plan_of_a_segment_ignores_sample_fps(plain: Path) -> None:
    plan = SegmentPlan(segment=0, first_position=0, frames=(0, 1), pts_seconds=(0.0, 0.04), seek_pts=None)

    frames = list(iter_frames(plain, plan, sample_fps=1, limits=LIMITS))

    assert [frame.number for frame in frames] == [0, 1]


def test_limits_refuse_nothing() -> None:
    with pytest.raises(ValueError, match="max_frames above 0"):
        DecodeLimits(max_frames=0)
