"""The packet index against a plain sequential decode, its segments, and the rule of sampling."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests import videos
from worker.contract import CLIP_FRAMES, SegmentPlan
from worker.decode import DecodeLimits, iter_frames
from worker.errors import IndexMismatchError, NoVideoStreamError, TooLongError, UndecodableError, UploadMissingError
from worker.index import Sampler, VideoIndex, fallback_plan, index_video, plan_segments

LIMITS = DecodeLimits()


def index_of(path: Path, *, sample_fps: float | None = None) -> VideoIndex:
    return index_video(path, sample_fps=sample_fps, limits=LIMITS)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "constant.mp4": videos.write_constant_rate,
    "variable.mp4": videos.write_variable_rate,
    "variable.mkv": videos.write_variable_rate,
    "open_gop.mp4": videos.write_open_gop,
    "open_gop.ts": videos.write_open_gop,
    "intra_refresh.mp4": videos.write_intra_refresh,
    "hidden_start.mp4": videos.write_negative_start,
    "size_change.ts": videos.write_size_change,
    "rotated.mp4": lambda path: videos.write_rotated(path, 90),
}


@pytest.mark.parametrize("name", WRITERS)
def test_index_video_gives_the_decoders_times(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name)

    index = index_of(path)

    assert index.exact, index.reason
    assert index.pts_seconds.tolist() == [seconds for seconds, _ in videos.reference_frames(path)]
    assert index.frame_count == len(index.pts_seconds) == index.analysed_frames


def test_index_video_gives_variable_times_exactly(tmp_path: Path) -> None:
    path = videos.write_variable_rate(tmp_path / "video.mp4", 20)

    index = index_of(path)

    assert index.pts_seconds.tolist() == [float(time * videos.CLOCK) for time in videos.variable_pts(20)]


def test_index_video_leaves_out_frames_that_an_edit_list_hides(tmp_path: Path) -> None:
    path = videos.write_negative_start(tmp_path / "video.mp4", 20, hidden=5)

    assert index_of(path).frame_count == 15


def test_index_video_tells_the_displayed_size(tmp_path: Path) -> None:
    facts = index_of(videos.write_rotated(tmp_path / "stored_as_120_x_160.mp4", 90)).facts()

    assert (facts.width, facts.height, facts.rotation_degrees, facts.codec) == (
        160,
        120,
        90,
        "h264",
    )


def test_index_video_counts_the_last_frames_duration(tmp_path: Path) -> None:
    path = videos.write_constant_rate(tmp_path / "video.mp4", 10, fps=25)

    assert index_of(path).duration_seconds == pytest.approx(0.4)


def test_index_video_keeps_the_frames_of_the_sampler(tmp_path: Path) -> None:
    path = videos.write_constant_rate(tmp_path / "video.mp4", 20, fps=25)

    index = index_of(path, sample_fps=5)

    assert index.numbers.tolist() == [0, 5, 10, 15]
    assert (index.frame_count, index.analysed_frames) == (20, 4)


def test_index_video_is_not_exact_without_presentation_times(tmp_path: Path) -> None:
    path = videos.write_without_pts(tmp_path / "video.avi", 24)

    index = index_of(path)

    assert not index.exact
    assert index.frame_count == 24


def test_index_video_of_a_cut_file_counts_the_frames_that_are_left(tmp_path: Path) -> None:
    path = videos.truncate(videos.write_constant_rate(tmp_path / "video.mkv"), keep=0.6)

    index = index_of(path)

    assert index.frame_count == len(list(videos.reference_frames(path)))


def test_index_video_refuses_sound_only(tmp_path: Path) -> None:
    path = videos.write_audio_only(tmp_path / "sound.mp4")

    with pytest.raises(NoVideoStreamError):
        index_of(path)


def test_index_video_refuses_a_video_without_a_frame(tmp_path: Path) -> None:
    path = videos.write_constant_rate(tmp_path / "video.mp4")
    content = bytearray(path.read_bytes())
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    content[start:end] = bytes(end - start)
    path.write_bytes(content)

    with pytest.raises(UndecodableError):
        index_of(path)


def test_index_video_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UploadMissingError):
        index_of(tmp_path / "nothing")


def test_index_video_refuses_too_many_frames(tmp_path: Path) -> None:
    path = videos.write_constant_rate(tmp_path / "video.mp4", 20)

    with pytest.raises(TooLongError):
        index_video(path, sample_fps=None, limits=DecodeLimits(max_frames=19))


def test_index_video_refuses_too_many_seconds(tmp_path: Path) -> None:
    path = videos.write_constant_rate(tmp_path / "video.mp4", 20, fps=10)

    with pytest.raises(TooLongError):
        index_video(path, sample_fps=None, limits=DecodeLimits(max_duration_seconds=1.9))


@pytest.mark.parametrize("sample_fps", [None, 10])
def test_plan_segments_cuts_on_the_grid(sample_fps: float | None, tmp_path: Path) -> None:
    index = index_of(videos.write_constant_rate(tmp_path / "video.mp4", 75), sample_fps=sample_fps)

    plans = plan_segments(index, segment_frames=16)

    assert [plan.segment for plan in plans] == list(range(len(plans)))
    assert [plan.first_position for plan in plans] == list(range(0, index.analysed_frames, 16))
    assert [number for plan in plans for number in plan.frames or ()] == index.numbers.tolist()
    assert [seconds for plan in plans for seconds in plan.pts_seconds or ()] == index.pts_seconds.tolist()


def test_plan_segments_seeks_to_the_keyframe_before_a_segment(tmp_path: Path) -> None:
    index = index_of(videos.write_constant_rate(tmp_path / "video.mp4", 48, fps=25))

    plans = plan_segments(index, segment_frames=16)

    # keyframes are twelve frames apart
    assert [plan.seek_frame for plan in plans] == [0, 12, 24]
    assert [plan.seek_pts is None for plan in plans] == [True, False, False]


def test_plan_segments_survives_json(tmp_path: Path) -> None:
    index = index_of(videos.write_variable_rate(tmp_path / "video.mkv"))
    plans = plan_segments(index, segment_frames=8)

    assert [SegmentPlan.model_validate_json(plan.model_dump_json()) for plan in plans] == plans


def test_plan_segments_leaves_a_short_video_in_one_decoding_pass(tmp_path: Path) -> None:
    index = index_of(videos.write_constant_rate(tmp_path / "video.mp4", 16))

    assert plan_segments(index, segment_frames=16) == [fallback_plan()]


def test_plan_segments_leaves_an_inexact_index_in_one_decoding_pass(tmp_path: Path) -> None:
    index = index_of(videos.write_without_pts(tmp_path / "video.avi", 24))

    assert plan_segments(index, segment_frames=8) == [fallback_plan()]


def test_plan_segments_refuses_a_length_off_the_grid(tmp_path: Path) -> None:
    index = index_of(videos.write_constant_rate(tmp_path / "video.mp4", 16))

    with pytest.raises(ValueError, match=f"multiple of {CLIP_FRAMES}"):
        plan_segments(index, segment_frames=12)


def frames_of(path: Path, plan: SegmentPlan) -> list[int]:
    return [frame.number for frame in iter_frames(path, plan, sample_fps=None, limits=LIMITS)]


def test_a_plan_of_another_video_is_a_mismatch(tmp_path: Path) -> None:
    index = index_of(videos.write_variable_rate(tmp_path / "planned.mp4"))
    other = videos.write_constant_rate(tmp_path / "other.mp4")

    with pytest.raises(IndexMismatchError):
        frames_of(other, plan_segments(index, segment_frames=8)[0])


def test_a_plan_that_ends_too_early_is_a_mismatch(tmp_path: Path) -> None:
    index = index_of(videos.write_constant_rate(tmp_path / "planned.mp4", 24))
    longer = videos.write_constant_rate(tmp_path / "longer.mp4", 25)

    with pytest.raises(IndexMismatchError):
        frames_of(longer, plan_segments(index, segment_frames=8)[-1])


def test_a_plan_that_ends_too_late_is_a_mismatch(tmp_path: Path) -> None:
    index = index_of(videos.write_constant_rate(tmp_path / "planned.mp4", 24))
    shorter = videos.write_constant_rate(tmp_path / "shorter.mp4", 23)

    with pytest.raises(IndexMismatchError):
        frames_of(shorter, plan_segments(index, segment_frames=8)[-1])


@pytest.mark.parametrize(
    ("sample_fps", "times", "kept"),
    [
        (None, [0.0, 0.0, 0.1], [0, 1, 2]),
        (10, [0.0, 0.05, 0.1, 0.15, 0.2], [0, 2, 4]),
        (10, [0.0, 0.09, 0.11, 0.31, 0.32, 0.39, 0.4], [0, 2, 3, 6]),
        (10, [0.0, 0.25, 0.5], [0, 1, 2]),
        # times rounded to milliseconds: 30 frames a second stay 30
        (30, [0.0, 0.033, 0.067, 0.1, 0.133], [0, 1, 2, 3, 4]),
        # times that go back are never analysed twice
        (10, [0.0, 0.1, 0.0, 0.1, 0.2], [0, 1, 4]),
    ],
)
def test_sampler_keeps_the_first_frame_of_each_tick(
    sample_fps: float | None, times: list[float], kept: list[int]
) -> None:
    sampler = Sampler(sample_fps)

    assert [number for number, time in enumerate(times) if sampler.keep(time)] == kept


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_sampler_at_the_videos_own_rate_keeps_every_frame(fps: Fraction) -> None:
    sampler = Sampler(float(fps))
    times = np.arange(100_000) / float(fps)

    assert all(sampler.keep(time) for time in times)


def test_sampler_refuses_a_rate_of_nothing() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Sampler(0)
