"""Videos through the whole pipeline: every frame a row, faces and tracks in it, nothing left behind however it ends."""

import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.checkpoint import load_checkpoint
from model.labels import CLIP_FRAMES, EMOTIONS
from tests.model.miniature import write_tiny_checkpoint
from tests.videos import (
    numbered_scene,
    reference_frames,
    two_faces_scene,
    write_audio_only,
    write_constant_rate,
    write_face,
    write_hard_cut,
    write_size_change,
    write_two_faces,
    write_variable_rate,
    write_video,
)
from worker.contract import FrameRow, JobOptions, SegmentRows
from worker.decode import DecodeLimits, Frame
from worker.errors import JobCanceledError, NoVideoStreamError, TooManyPixelsError
from worker.faces import FaceDetector, create_detector
from worker.index import fallback_plan
from worker.pipeline import Analyzer, Threads, analyse_video, iter_frame_groups
from worker.predictor import Predictor

CPU = torch.device("cpu")
LIMITS = DecodeLimits()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    weights = write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return Predictor(load_checkpoint(weights), device=CPU)


@pytest.fixture(scope="module")
def analyzer(predictor: Predictor) -> Analyzer:
    return Analyzer(create_detector(device=CPU, long_side=320), predictor)


def analyse(analyzer: Analyzer, path: Path, options: JobOptions | None = None) -> list[FrameRow]:
    return analyse_video(analyzer, path, options or JobOptions(), LIMITS).rows


def tracks(rows: list[FrameRow]) -> list[list[int]]:
    return [[face.track for face in row.faces] for row in rows]


def test_every_frame_has_its_row_at_its_true_time(analyzer: Analyzer, tmp_path: Path) -> None:
    video = write_variable_rate(tmp_path / "vfr.mkv", 21)

    rows = analyse(analyzer, video)

    assert [row.frame for row in rows] == list(range(21))
    times = [seconds for seconds, _ in reference_frames(video)]
    np.testing.assert_allclose([row.pts_seconds for row in rows], np.subtract(times, times[0]), atol=1e-6)


def test_frames_without_a_face_have_empty_rows(analyzer: Analyzer, tmp_path: Path) -> None:
    rows = analyse(analyzer, write_constant_rate(tmp_path / "empty.mp4", 12, scene=numbered_scene()))

    assert tracks(rows) == [[]] * 12


def test_several_faces_keep_their_tracks(analyzer: Analyzer, tmp_path: Path) -> None:
    rows = analyse(analyzer, write_two_faces(tmp_path / "two.mp4", 19))

    assert tracks(rows) == [[1, 2]] * 19
    one, other = ([row.faces[i].box[0] for row in rows] for i in (0, 1))
    assert max(one) < min(other) or max(other) < min(one)


def test_a_face_row_is_complete_and_lies_on_the_face(analyzer: Analyzer, tmp_path: Path) -> None:
    face = analyse(analyzer, write_face(tmp_path / "face.mp4", 8))[0].faces[0]

    x0, y0, x1, y1 = face.box
    assert 0 <= x0 < x1 <= 320
    assert 0 <= y0 < y1 <= 240
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in face.landmarks)
    assert 0.8 < face.score <= 1
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert face.emotion == max(face.probabilities, key=face.probabilities.__getitem__)


def test_a_hard_cut_inside_a_window_starts_new_tracks(analyzer: Analyzer, tmp_path: Path) -> None:
    rows = analyse(analyzer, write_hard_cut(tmp_path / "cut.mp4", 24, at=12))

    before, after = tracks(rows)[:12], tracks(rows)[12:]
    assert before == [[1]] * 12
    assert after == [[2]] * 12


def test_max_faces_keeps_the_largest(analyzer: Analyzer, tmp_path: Path) -> None:
    video = write_two_faces(tmp_path / "two.mp4", 8)

    assert all(len(row.faces) == 1 for row in analyse(analyzer, video, JobOptions(max_faces=1)))


def test_min_face_pixels_drops_small_faces(analyzer: Analyzer, tmp_path: Path) -> None:
    video = write_two_faces(tmp_path / "two.mp4", 8)

    assert tracks(analyse(analyzer, video, JobOptions(min_face_pixels=200))) == [[]] * 8


def test_sample_fps_analyses_fewer_frames_and_keeps_their_numbers(analyzer: Analyzer, tmp_path: Path) -> None:
    analysis = analyse_video(analyzer, write_face(tmp_path / "face.mp4", 50, fps=25), JobOptions(sample_fps=5), LIMITS)

    assert [row.frame for row in analysis.rows] == list(range(0, 50, 5))
    assert tracks(analysis.rows) == [[1]] * 10
    assert analysis.facts.analysed_frames == 10
    assert analysis.facts.frame_count == 50


def test_a_stream_that_changes_its_size_is_analysed(analyzer: Analyzer, tmp_path: Path) -> None:
    video = write_size_change(tmp_path / "sizes.mkv", 24)

    assert len(analyse(analyzer, video)) == sum(1 for _ in reference_frames(video))


@pytest.mark.parametrize("threads", [Threads(1, 1), Threads(3, 2), Threads(1, 1, windows_per_prediction=3)])
def test_the_rows_do_not_depend_on_threads(analyzer: Analyzer, tmp_path: Path, threads: Threads) -> None:
    video = write_video(tmp_path / "two.mp4", 37, scene=two_faces_scene())

    rows = analyse(Analyzer(analyzer.detector, analyzer.predictor, threads=threads), video)

    assert rows == analyse(analyzer, video)


def frames_of(*sizes: tuple[int, int]) -> Generator[Frame, None, None]:
    for number, (height, width) in enumerate(sizes):
        yield Frame(number, number / 25, np.zeros((height, width, 3), np.uint8))


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([(360, 640)] * 20, [8, 8, 4]),
        ([(1080, 1920)] * 10, [5, 3, 2]),
        ([(2160, 3840)] * 3, [1, 1, 1]),
        ([(36, 64)] * 3 + [(64, 36)] * 7, [3, 5, 2]),
    ],
    ids=["small", "1080p", "4K", "changing"],
)
def test_frames_are_grouped_by_size_within_windows(sizes: list[tuple[int, int]], lengths: list[int]) -> None:
    assert [len(group) for group in iter_frame_groups(frames_of(*sizes))] == lengths


def test_progress_rises_to_the_number_of_frames(analyzer: Analyzer, tmp_path: Path) -> None:
    done: list[int] = []

    segment = analyzer.analyse_segment(
        write_face(tmp_path / "face.mp4", 20), fallback_plan(), JobOptions(), LIMITS, on_progress=done.append
    )

    assert done == [8, 16, 20]
    assert isinstance(segment, SegmentRows)
    assert len(segment.rows) == 20


def test_should_stop_ends_the_analysis_within_a_batch_and_all_its_threads(analyzer: Analyzer, tmp_path: Path) -> None:
    video = write_face(tmp_path / "face.mp4", 160)
    done: list[int] = []
    before = threading.active_count()

    with pytest.raises(JobCanceledError):
        analyzer.analyse_segment(
            video, fallback_plan(), JobOptions(), LIMITS, on_progress=done.append, should_stop=lambda: bool(done)
        )

    assert done == [CLIP_FRAMES]
    assert threading.active_count() == before


def test_an_error_of_the_decoder_reaches_the_caller(analyzer: Analyzer, tmp_path: Path) -> None:
    before = threading.active_count()

    with pytest.raises(NoVideoStreamError):
        analyzer.analyse_segment(write_audio_only(tmp_path / "sound.mp4"), fallback_plan(), JobOptions(), LIMITS)
    with pytest.raises(TooManyPixelsError):
        analyzer.analyse_segment(
            write_face(tmp_path / "face.mp4", 8), fallback_plan(), JobOptions(), DecodeLimits(max_pixels=100)
        )

    assert threading.active_count() == before


class BrokenNetwork(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError(f"broken network, {images.shape = }")


def test_an_error_of_the_detector_reaches_the_caller(predictor: Predictor, tmp_path: Path) -> None:
    detector = FaceDetector(BrokenNetwork(), name="broken", sha256="", device=CPU)
    video = write_face(tmp_path / "face.mp4", 80)
    before = threading.active_count()

    with pytest.raises(RuntimeError, match="broken network"):
        Analyzer(detector, predictor).analyse_segment(video, fallback_plan(), JobOptions(), LIMITS)

    assert threading.active_count() == before


def test_closing_the_windows_early_leaves_no_thread(analyzer: Analyzer, tmp_path: Path) -> None:
    before = threading.active_count()
    windows = analyzer.iter_windows(write_face(tmp_path / "face.mp4", 80), fallback_plan(), JobOptions(), LIMITS)

    next(windows)
    windows.close()

    assert threading.active_count() == before


def test_version_names_weights_labels_and_libraries(analyzer: Analyzer) -> None:
    version = analyzer.version

    assert version.detector == "retinaface-mobilenet0.25"
    assert version.sha256 == analyzer.predictor.checkpoint.sha256
    assert len(version.sha256) == len(version.detector_sha256) == 64
    assert version.labels == EMOTIONS
    assert version.runtime is not None
    assert (version.runtime.torch, version.runtime.device) == (torch.__version__, "cpu")
    assert {"libavcodec", "libavformat"} <= version.runtime.ffmpeg.keys()
    assert version.runtime.long_side == 320
