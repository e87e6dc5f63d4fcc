"""Linking faces to tracklets and tracklets to tracks; the same tracks for any cutting of a video into segments."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from model.labels import CLIP_FRAMES, EMOTIONS
from worker.clips import create_window, cut_out_faces
from worker.contract import Box, FaceRow, FrameRow, JobOptions, SegmentRows, StitchState
from worker.decode import Frame
from worker.faces import Face
from worker.rows import SegmentBuilder
from worker.tracking import Sight, link, link_tracklets, stitch

FPS = 25


def box(x: float, y: float = 100, size: float = 50) -> Box:
    """Face centred at (x, y)."""
    return x - size / 2, y - size / 2, x + size / 2, y + size / 2


def sight(x: float, *, seconds: float = 0, position: int = 0, size: float = 50) -> Sight:
    return Sight(box(x, size=size), seconds, position)


def times(count: int, fps: float = FPS) -> list[float]:
    return [i / fps for i in range(count)]


def face_row(x: float, tracklet: int, *, size: float = 50) -> FaceRow:
    return FaceRow(
        track=tracklet,
        box=box(x, size=size),
        score=0.9,
        landmarks=((0, 0), (1, 0), (0.5, 0.5), (0, 1), (1, 1)),
        emotion=EMOTIONS[0],
        probabilities=dict.fromkeys(EMOTIONS, 1 / len(EMOTIONS)),
    )


def segment(
    number: int, *rows: Sequence[FaceRow], fps: float = FPS, first: int = 0, cuts: tuple[int, ...] = ()
) -> SegmentRows:
    """Rows of one segment; frame `first + i` holds the faces rows[i]."""
    return SegmentRows(
        segment=number,
        rows=tuple(
            FrameRow(frame=first + i, pts_seconds=(first + i) / fps, faces=tuple(found)) for i, found in enumerate(rows)
        ),
        cuts=cuts,
    )


def tracks(rows: SegmentRows) -> list[list[int]]:
    return [[face.track for face in row.faces] for row in rows.rows]


def test_link_prefers_the_nearest_of_two_faces() -> None:
    earlier = [sight(100), sight(180)]
    later = [sight(170, seconds=0.04, position=1), sight(110, seconds=0.04, position=1)]

    assert sorted(link(earlier, later)) == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("x", "seconds", "frames", "linked"),
    [(160, 0.04, 1, False), (180, 0.2, 1, True), (180, 0.2, 5, False), (160, 1.0, 25, True), (210, 1.0, 1, False)],
    ids=["a jump", "running", "elsewhere after a gap", "a second to move", "too far even at a frame a second"],
)
def test_link_allows_what_a_face_can_move(x: float, seconds: float, frames: int, linked: bool) -> None:
    assert bool(link([sight(100)], [sight(x, seconds=seconds, position=frames)])) is linked


def test_link_refuses_a_face_of_another_size() -> None:
    assert link([sight(100, size=50)], [sight(100, size=100, seconds=0.04, position=1)]) == []


@pytest.mark.parametrize(
    ("seconds", "frames", "linked"),
    [(1.0, 25, True), (1.2, 30, False), (4.0, 2, True), (6.0, 3, False)],
    ids=["within a second", "too long ago", "two intervals of 2 s", "three intervals of 2 s"],
)
def test_link_waits_a_second_or_two_sampling_intervals(seconds: float, frames: int, linked: bool) -> None:
    assert bool(link([sight(100)], [sight(100, seconds=seconds, position=frames)])) is linked


def test_link_tracklets_keeps_a_face_that_is_missing_for_some_frames() -> None:
    boxes = [[box(100)], [], [], [], [box(104)], [], [box(106)], []]

    (tracklet,) = link_tracklets(boxes, times(8))

    assert tracklet.places == ((0, 0), (4, 0), (6, 0))


def test_link_tracklets_follows_faces_that_pass_each_other_in_the_list() -> None:
    boxes = [[box(100), box(300)], [box(302), box(101)], [box(102), box(304)]]

    first, second = link_tracklets(boxes, times(3))

    assert first.places == ((0, 0), (1, 1), (2, 0))
    assert second.places == ((0, 1), (1, 0), (2, 1))


def test_link_tracklets_follows_a_moving_head_at_one_frame_a_second() -> None:
    boxes = [[box(100)], [box(160)], [box(110)], [box(170)]]

    assert len(link_tracklets(boxes, times(4, fps=1))) == 1


def test_link_tracklets_ends_all_at_a_cut() -> None:
    boxes = [[box(100)], [box(100)], [box(100)]]

    first, second = link_tracklets(boxes, times(3), cuts=[2])

    assert first.places == ((0, 0), (1, 0))
    assert second.places == ((2, 0),)


def test_stitch_continues_a_track_over_a_border() -> None:
    one = segment(0, *[[face_row(100 + i, 0), face_row(400, 1)] for i in range(8)])
    two = segment(1, *[[face_row(108 + i, 1), face_row(400, 0)] for i in range(8)], first=8)

    first, state = stitch(StitchState(), one)
    second, _ = stitch(state, two)

    assert tracks(first) == [[1, 2]] * 8
    assert tracks(second) == [[1, 2]] * 8


def test_stitch_never_joins_two_tracklets_of_one_window() -> None:
    one = segment(0, *[[face_row(100, 0)]] * 8)
    two = segment(1, *[[face_row(100, 0)]] * 4, *[[face_row(100, 1)]] * 4, first=8)

    _, state = stitch(StitchState(), one)
    second, _ = stitch(state, two)

    assert tracks(second) == [[1]] * 4 + [[2]] * 4


def test_stitch_starts_new_tracks_at_a_cut() -> None:
    one = segment(0, *[[face_row(100, 0)]] * 16, cuts=(8,))

    rows, _ = stitch(StitchState(), one)

    assert tracks(rows) == [[1]] * 8 + [[2]] * 8


def test_stitch_forgets_a_face_after_a_second() -> None:
    rows = [[face_row(100, 0)]] * 8 + [[]] * 32 + [[face_row(100, 1)]] * 8

    joined, state = stitch(StitchState(), segment(0, *rows))

    assert tracks(joined)[-1] == [2]
    assert [end.track for end in state.ends] == [2]


def test_stitch_keeps_the_input_unchanged() -> None:
    one = segment(0, *[[face_row(100, 7)]] * 8)

    stitch(StitchState(), one)

    assert tracks(one) == [[7]] * 8


def test_stitch_refuses_segments_out_of_order() -> None:
    with pytest.raises(ValueError, match="expected segment 0"):
        stitch(StitchState(), segment(1))


def random_face(rng: np.random.Generator, centre: NDArray[np.float64], size: float) -> Face:
    side = size * rng.uniform(0.9, 1.1)
    corners = np.concatenate([centre - side / 2, centre + side / 2]).astype(np.float32)
    landmarks = (centre + side * rng.uniform(-0.3, 0.3, (5, 2))).astype(np.float32)
    return Face(corners, float(rng.uniform(0.8, 1)), landmarks)


def random_video(rng: np.random.Generator, count: int) -> list[tuple[Frame, list[Face]]]:
    """Shots of wandering faces that come and go, with cuts, black frames and uneven times."""
    video: list[tuple[Frame, list[Face]]] = []
    seconds = 0.0
    for number in range(count):
        if number == 0 or rng.random() < 0.06:
            picture = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(6, axis=0).repeat(8, axis=1)
            centres = rng.uniform(0, 400, (rng.integers(0, 5), 2))
            sizes = rng.uniform(20, 90, len(centres))
        centres = centres + rng.normal(0, 0.2, centres.shape) * sizes[:, None]
        faces = [
            random_face(rng, centre, size) for centre, size in zip(centres, sizes, strict=True) if rng.random() < 0.8
        ]
        is_blank = rng.random() < 0.1
        video.append((Frame(number, seconds, np.zeros_like(picture) if is_blank else picture), faces))
        seconds += float(rng.choice([0.04, 0.04, 0.1, 0.7]))
    return video


def analyse(video: Sequence[tuple[Frame, list[Face]]], number: int) -> SegmentRows:
    """A segment as the pipeline makes it, with even probabilities."""
    builder = SegmentBuilder(number)
    for start in range(0, len(video), CLIP_FRAMES):
        seen = [cut_out_faces(frame, faces, JobOptions()) for frame, faces in video[start : start + CLIP_FRAMES]]
        window = create_window(seen)
        builder.add(window, [np.full((len(clip.crops), 7), 1 / 7, np.float32) for clip in window.clips])
    return builder.build()


def stitch_all(segments: Sequence[SegmentRows]) -> tuple[list[FrameRow], StitchState]:
    """Stitch as the store does it: segments and state pass through JSON."""
    rows: list[FrameRow] = []
    state = StitchState()
    for each in segments:
        stitched, state = stitch(
            StitchState.model_validate_json(state.model_dump_json()),
            SegmentRows.model_validate_json(each.model_dump_json()),
        )
        rows += stitched.rows
    return rows, state


@pytest.mark.parametrize("seed", range(12))
def test_stitch_gives_the_same_tracks_for_any_segments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    video = random_video(rng, int(rng.integers(60, 150)))
    whole, whole_state = stitch_all([analyse(video, 0)])

    for share in (1.0, 0.5, 0.2):
        borders = [at for at in range(CLIP_FRAMES, len(video), CLIP_FRAMES) if rng.random() < share]
        parts = [video[a:b] for a, b in zip([0, *borders], [*borders, len(video)], strict=True)]
        rows, state = stitch_all([analyse(part, number) for number, part in enumerate(parts)])

        assert rows == whole
        assert state.model_copy(update={"next_segment": 1}) == whole_state


@pytest.mark.parametrize("seed", range(4))
def test_stitch_gives_every_face_a_track_of_its_own_within_a_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, _ = stitch_all([analyse(random_video(rng, 100), 0)])

    assert all(len({face.track for face in row.faces}) == len(row.faces) for row in rows)
    # Random worlds are of use only if faces come, go on and go.
    assert max(Counter(face.track for row in rows for face in row.faces).values()) > CLIP_FRAMES
