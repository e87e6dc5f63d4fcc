"""Smoothing: against the definition written out, at borders, and while the video still goes on."""

import random

import pytest

from app.smoothing import iter_smoothed
from model.labels import EMOTIONS, Emotion
from tests.app.rows import create_face, create_rows
from worker.contract import FrameRow


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """Eight seconds of two tracks that come and go, with irregular times."""
    chance = random.Random(4)
    faces = [
        [
            create_face(track, chance.choice(EMOTIONS), probability=round(chance.uniform(0.3, 1), 6))
            for track in (1, 2)
            if chance.random() < 0.8
        ]
        for _ in range(200)
    ]
    times = {frame: frame / 25 + chance.uniform(0, 0.03) for frame in range(200)}
    return create_rows(faces, times=times)


def mean_by_definition(rows: list[FrameRow], track: int, at_seconds: float, smoothing_seconds: float) -> list[float]:
    near = [
        face.probabilities
        for row in rows
        for face in row.faces
        if face.track == track and abs(row.pts_seconds - at_seconds) <= smoothing_seconds / 2
    ]
    return [sum(probabilities[emotion] for probabilities in near) / len(near) for emotion in EMOTIONS]


@pytest.mark.parametrize("smoothing_seconds", [0.05, 0.5, 3.0, 60.0])
def test_iter_smoothed_is_the_mean_of_the_track_over_the_window(rows: list[FrameRow], smoothing_seconds: float) -> None:
    smoothed = list(iter_smoothed(rows, smoothing_seconds=smoothing_seconds))

    expected = [
        mean_by_definition(rows, face.track, row.pts_seconds, smoothing_seconds) for row in rows for face in row.faces
    ]
    actual = [list(face.probabilities.values()) for row in smoothed for face in row.faces]
    # values are rounded to six digits
    assert actual == [pytest.approx(probabilities, abs=1e-6) for probabilities in expected]


def test_iter_smoothed_names_the_class_that_leads_after_smoothing() -> None:
    faces = [[create_face(1, Emotion.SADNESS if frame == 5 else Emotion.FEAR)] for frame in range(11)]

    smoothed = list(iter_smoothed(create_rows(faces), smoothing_seconds=1.0))

    assert {face.emotion for row in smoothed for face in row.faces} == {Emotion.FEAR}


def test_iter_smoothed_keeps_all_else(rows: list[FrameRow]) -> None:
    smoothed = list(iter_smoothed(rows, smoothing_seconds=1.0))

    without = {"faces": {"__all__": {"emotion", "probabilities"}}}
    assert [row.model_dump(exclude=without) for row in smoothed] == [row.model_dump(exclude=without) for row in rows]


def test_iter_smoothed_by_zero_seconds_changes_nothing(rows: list[FrameRow]) -> None:
    assert list(iter_smoothed(rows, smoothing_seconds=0)) == rows


@pytest.mark.parametrize("begin", [0, 1, 60, 150])
def test_iter_smoothed_of_a_stretch_equals_the_same_stretch_of_the_whole(rows: list[FrameRow], begin: int) -> None:
    whole = list(iter_smoothed(rows, smoothing_seconds=1.0))

    # 30 rows are more than half a window
    stretch = list(iter_smoothed(rows[max(0, begin - 30) :], smoothing_seconds=1.0))

    assert stretch[begin - max(0, begin - 30) :] == whole[begin:]


def test_iter_smoothed_withholds_rows_that_later_rows_would_change(rows: list[FrameRow]) -> None:
    whole = list(iter_smoothed(rows, smoothing_seconds=1.0))

    known = list(iter_smoothed(rows[:100], smoothing_seconds=1.0, is_complete=False))

    assert known == whole[: len(known)]
    assert rows[len(known)].pts_seconds + 0.5 >= rows[99].pts_seconds
