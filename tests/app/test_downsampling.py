"""Down-sampling: means over time, nothing counted twice, nothing lost."""

import pytest

from app.downsampling import Downsampled, downsample
from model.labels import EMOTIONS, Emotion
from tests.app.rows import create_face, create_rows
from worker.contract import FrameRow

HAPPY = EMOTIONS.index(Emotion.HAPPINESS)


def downsample_all(rows: list[FrameRow], *, spans: int, frames_per_second: float = 25.0) -> Downsampled:
    end_seconds = rows[-1].pts_seconds + 1 / frames_per_second
    return downsample(rows, spans=spans, end_seconds=end_seconds, rows_end_seconds=end_seconds)


@pytest.mark.parametrize("frames_per_second", [25.0, 30000 / 1001, 24000 / 1001, 5.0])
def test_as_many_spans_as_frames_return_the_rows(frames_per_second: float) -> None:
    # probabilities that tell every frame from its neighbours
    rows = create_rows(
        [[create_face(1, probability=0.3 + frame % 50 / 100)] for frame in range(300)],
        frames_per_second=frames_per_second,
    )

    found = downsample_all(rows, spans=300, frames_per_second=frames_per_second)

    expected = [row.faces[0].probabilities[Emotion.HAPPINESS] for row in rows]
    # times are microseconds: a frame of 33 ms may lie one of them in its neighbour's span
    assert [means[HAPPY] for means in found.tracks[0].means if means] == pytest.approx(expected, abs=1e-4)
    assert found.positions == list(range(300))
    assert found.tracks[0].seen == [1.0] * 300


def test_means_are_over_time_not_over_rows() -> None:
    faces = [[create_face(1, probability=0.9)], [create_face(1, probability=0.5)], [create_face(1, probability=0.1)]]
    # shown for 0.1, 0.1 and 0.8 seconds
    rows = create_rows(faces, times={0: 0.0, 1: 0.1, 2: 0.2})

    found = downsample(rows, spans=1, end_seconds=1.0, rows_end_seconds=1.0)

    means = found.tracks[0].means[0]
    assert means is not None
    assert means[HAPPY] == pytest.approx(0.9 * 0.1 + 0.5 * 0.1 + 0.1 * 0.8)


def test_a_frame_that_is_shown_for_long_fills_every_span_it_lies_in() -> None:
    rows = create_rows([[create_face(1)], [create_face(1)]], times={0: 0.0, 1: 5.0})

    found = downsample(rows, spans=10, end_seconds=10.0, rows_end_seconds=10.0)

    assert found.tracks[0].seen == [1.0] * 10
    assert found.positions == [0] * 5 + [1] * 5


def test_a_track_begins_and_ends_where_it_is_seen() -> None:
    rows = create_rows([[], [], [create_face(7)], [], [create_face(7)], []])

    found = downsample_all(rows, spans=6)

    assert [(track.track, track.first_span, track.seen) for track in found.tracks] == [(7, 2, [1.0, 0.0, 1.0])]
    assert found.tracks[0].means[1] is None


def test_seen_is_the_share_of_the_span() -> None:
    rows = create_rows([[create_face(1), create_face(2)][: 1 + frame % 2] for frame in range(100)])

    found = downsample_all(rows, spans=5)

    assert found.tracks[0].seen == pytest.approx([1.0] * 5)
    assert found.tracks[1].seen == pytest.approx([0.5] * 5)


def test_cuts_are_where_all_faces_change() -> None:
    faces = [[create_face(1), create_face(2)]] * 5 + [[create_face(2), create_face(3)]] * 5 + [[create_face(4)]] * 5

    found = downsample_all(create_rows(faces), spans=15)

    assert found.cuts == [10 / 25]


def test_stretches_without_a_face_are_exact() -> None:
    faces = [[create_face(1)]] * 10 + [[]] * 20 + [[create_face(2)]] * 10 + [[]] * 10

    found = downsample_all(create_rows(faces), spans=5)

    assert found.without_face == [(0.4, 1.2), (1.6, 2.0)]


def test_stretches_shorter_than_a_span_are_left_out() -> None:
    faces = [[create_face(1)] if frame % 2 else [] for frame in range(1000)]

    assert downsample_all(create_rows(faces), spans=10).without_face == []


def test_rows_so_far_leave_the_rest_unknown() -> None:
    rows = create_rows([[create_face(1)]] * 50)

    found = downsample(rows, spans=10, end_seconds=8.0, rows_end_seconds=2.0)

    assert found.positions == [0, 20, 40]
    assert found.tracks[0].seen == [1.0] * 3
    assert (found.rows, found.end_seconds) == (50, 8.0)


def test_no_rows_are_an_empty_timeline() -> None:
    found = downsample([], spans=10, end_seconds=0.0, rows_end_seconds=0.0)

    assert (found.rows, found.positions, found.cuts, found.without_face, found.tracks) == (0, [], [], [], [])


def test_a_picture_is_one_span() -> None:
    found = downsample(create_rows([[create_face(1)]]), spans=1, end_seconds=0.0, rows_end_seconds=0.0)

    assert [track.seen for track in found.tracks] == [[1.0]]


def test_a_row_at_the_very_end_counts_in_the_last_span() -> None:
    rows = create_rows([[create_face(1)], [create_face(2)]], times={0: 0.0, 1: 1.0})

    found = downsample(rows, spans=4, end_seconds=1.0, rows_end_seconds=1.0)

    assert [(track.track, track.first_span) for track in found.tracks] == [(1, 0), (2, 3)]
