"""The summary per track, worked out by hand."""

import pytest

from model.labels import Emotion
from tests.worker.jobs import create_face
from worker.contract import FrameRow
from worker.summary import summarise


def test_summary_of_no_rows_is_empty() -> None:
    assert summarise([]) == []
    assert summarise([FrameRow(frame=0, pts_seconds=0.0)]) == []


def test_summary_spans_each_track_in_order_of_number() -> None:
    rows = [
        FrameRow(frame=0, pts_seconds=0.0, faces=(create_face(track=2),)),
        FrameRow(frame=1, pts_seconds=0.5, faces=(create_face(track=1), create_face(track=2))),
        FrameRow(frame=2, pts_seconds=1.5, faces=(create_face(track=1),)),
        FrameRow(frame=3, pts_seconds=2.0),
    ]
    spans = [(track.track, track.frames, track.start_seconds, track.end_seconds) for track in summarise(rows)]
    assert spans == [(1, 2, 0.5, 1.5), (2, 2, 0.0, 0.5)]


def test_summary_takes_the_mean_for_the_emotion_and_the_leader_for_the_shares() -> None:
    # sadness leads in two of three frames, but faintly; the one happy frame outweighs them
    faces = [
        create_face(track=1, emotion=Emotion.SADNESS, probability=0.2),
        create_face(track=1, emotion=Emotion.SADNESS, probability=0.2),
        create_face(track=1, emotion=Emotion.HAPPINESS, probability=1.0),
    ]
    (track,) = summarise(FrameRow(frame=n, pts_seconds=n / 25, faces=(face,)) for n, face in enumerate(faces))
    assert track.emotion is Emotion.HAPPINESS
    assert track.shares[Emotion.SADNESS] == pytest.approx(2 / 3)
    assert track.shares[Emotion.HAPPINESS] == pytest.approx(1 / 3)
    assert sum(track.shares.values()) == pytest.approx(1)
    assert sum(track.mean_probabilities.values()) == pytest.approx(1)
    assert track.mean_probabilities[Emotion.SADNESS] == pytest.approx(0.4 / 3)
