"""Timeline: spans, their borders, what is too short to count, and gaps."""

import pytest

from app.timeline import Span, create_timeline
from model.labels import Emotion
from tests.app.rows import create_face, create_rows


def test_create_timeline_makes_a_span_of_each_expression() -> None:
    faces = [
        [create_face(1, Emotion.NEUTRAL if frame < 25 else Emotion.HAPPINESS, probability=0.75)] for frame in range(75)
    ]

    spans = create_timeline(create_rows(faces))

    # 0.75 can be summed up without rounding
    assert spans == [
        Span(1, 0.0, 1.0, Emotion.NEUTRAL, 0.75, 25),
        Span(1, 1.0, 3.0, Emotion.HAPPINESS, 0.75, 50),
    ]


def test_create_timeline_joins_a_span_that_is_too_short() -> None:
    faces = [[create_face(1, Emotion.FEAR if 30 <= frame < 33 else Emotion.NEUTRAL)] for frame in range(75)]

    spans = create_timeline(create_rows(faces))

    assert [(span.emotion, span.frames) for span in spans] == [(Emotion.NEUTRAL, 75)]
    assert spans[0].mean_probability == pytest.approx((72 * 0.7 + 3 * 0.05) / 75)


def test_create_timeline_ignores_a_lead_below_the_margin() -> None:
    close = {
        True: create_face(1, Emotion.ANGER, probability=0.2),
        False: create_face(1, Emotion.NEUTRAL, probability=0.2),
    }
    faces = [[close[frame >= 50]] for frame in range(100)]

    spans = create_timeline(create_rows(faces), margin=0.1)

    assert [span.emotion for span in spans] == [Emotion.NEUTRAL]


def test_create_timeline_keeps_the_only_span_of_a_short_track() -> None:
    spans = create_timeline(create_rows([[], [create_face(3)], []]))

    assert [(span.track, span.frames, span.start_seconds, span.end_seconds) for span in spans] == [(3, 1, 0.04, 0.08)]


def test_create_timeline_ends_a_span_where_the_face_is_gone() -> None:
    faces = [[create_face(1)] if frame < 25 or frame >= 75 else [] for frame in range(100)]

    spans = create_timeline(create_rows(faces), max_gap_seconds=0.5)

    assert [(span.start_seconds, span.end_seconds) for span in spans] == [(0.0, 1.0), (3.0, 4.0)]


def test_create_timeline_goes_on_over_a_short_gap() -> None:
    faces = [[] if 40 <= frame < 45 else [create_face(1)] for frame in range(100)]

    spans = create_timeline(create_rows(faces), max_gap_seconds=0.5)

    assert [(span.start_seconds, span.end_seconds, span.frames) for span in spans] == [(0.0, 4.0, 95)]


def test_create_timeline_separates_tracks() -> None:
    faces = [[create_face(2, Emotion.SADNESS), create_face(1, Emotion.ANGER)] for _ in range(50)]

    spans = create_timeline(create_rows(faces))

    assert [(span.track, span.emotion) for span in spans] == [(1, Emotion.ANGER), (2, Emotion.SADNESS)]


def test_create_timeline_of_no_rows_is_empty() -> None:
    assert create_timeline([]) == []
