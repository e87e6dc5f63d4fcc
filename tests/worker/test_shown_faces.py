"""Faces at any time: on rows, between them, and where the detector missed one."""

import pytest

from model.labels import Emotion
from tests.app.rows import create_face
from worker.contract import Box, FaceRow, FrameRow
from worker.shown_faces import FaceTimeline


def face(track: int, box: Box) -> FaceRow:
    return create_face(track, Emotion.ANGER).model_copy(update={"box": box})


def row(frame: int, *faces: FaceRow, seconds: float) -> FrameRow:
    return FrameRow(frame=frame, pts_seconds=seconds, faces=faces)


LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (100.0, 20.0, 110.0, 30.0)


def test_a_row_shows_its_faces_as_they_are() -> None:
    timeline = FaceTimeline([row(0, face(1, LEFT), seconds=0), row(5, face(1, RIGHT), seconds=1)])

    assert timeline.at(1.0).faces == (face(1, RIGHT),)
    assert timeline.at(1.0).hidden == (RIGHT,)


def test_a_time_that_was_rounded_for_the_row_is_the_row() -> None:
    timeline = FaceTimeline([row(0, face(1, LEFT), seconds=0), row(5, face(1, RIGHT), seconds=0.333333)])

    assert timeline.at(1 / 3).faces[0].box == RIGHT


def test_between_rows_a_face_moves_and_all_its_way_is_hidden() -> None:
    timeline = FaceTimeline([row(0, face(1, LEFT), seconds=0), row(5, face(1, RIGHT), seconds=1)])

    shown = timeline.at(0.25)

    assert shown.faces[0].box == pytest.approx((25, 5, 35, 15))
    assert shown.hidden == ((0.0, 0.0, 110.0, 30.0),)


def test_a_face_that_goes_or_comes_is_hidden_on_both_sides_of_the_gap() -> None:
    timeline = FaceTimeline([row(0, face(1, LEFT), seconds=0), row(5, face(2, RIGHT), seconds=1)])

    shown = timeline.at(0.5)

    assert [one.track for one in shown.faces] == [1]
    assert set(shown.hidden) == {LEFT, RIGHT}


def test_a_face_that_was_missed_shortly_is_hidden_but_not_drawn() -> None:
    timeline = FaceTimeline(
        [row(0, face(1, LEFT), seconds=0), row(1, seconds=0.1), row(2, face(1, RIGHT), seconds=0.2)]
    )

    shown = timeline.at(0.1)

    assert shown.faces == ()
    assert shown.hidden == ((0.0, 0.0, 110.0, 30.0),)
    assert len(timeline.at(0.15).hidden) == 2


def test_a_face_that_was_away_is_not_hidden_meanwhile() -> None:
    timeline = FaceTimeline([row(0, face(1, LEFT), seconds=0), row(1, seconds=3), row(2, face(1, LEFT), seconds=6)])

    assert timeline.at(3.0).hidden == ()


def test_the_last_row_holds_to_the_end() -> None:
    timeline = FaceTimeline([row(0, face(1, LEFT), seconds=0)])

    assert timeline.at(9.0).faces == (face(1, LEFT),)
