"""From detected faces to the clips of one window."""

from collections.abc import Sequence

import numpy as np
import pytest

from model.labels import CLIP_FRAMES
from worker.alignment import CROP_SIZE, TEMPLATE
from worker.clips import FrameFaces, create_window, cut_out_faces, select_faces
from worker.contract import JobOptions
from worker.decode import Frame
from worker.faces import Face


def face(left: float, top: float, side: float, *, height: float | None = None, score: float = 0.9) -> Face:
    box = np.array([left, top, left + side, top + (side if height is None else height)], np.float32)
    return Face(box, score, (box[:2] + TEMPLATE * side).astype(np.float32))


def frame(number: int, *, value: int = 0) -> Frame:
    """Frame filled with a value left of the middle and its complement right of it."""
    image = np.full((120, 200, 3), value, np.uint8)
    image[:, 100:] = 255 - value
    return Frame(number, number / 25, image)


def seen(frames: Sequence[Frame], faces: Sequence[Sequence[Face]]) -> list[FrameFaces]:
    return [cut_out_faces(each, found, JobOptions()) for each, found in zip(frames, faces, strict=True)]


def test_select_faces_keeps_the_largest() -> None:
    small, large, middle = face(0, 0, 20), face(50, 0, 40), face(100, 0, 30)

    assert select_faces([small, large, middle], JobOptions(max_faces=2)) == (large, middle)


def test_select_faces_drops_boxes_that_are_narrow_or_low() -> None:
    narrow, low, enough = face(0, 0, 20, height=60), face(0, 0, 60, height=20), face(0, 0, 40)

    assert select_faces([narrow, low, enough], JobOptions(min_face_pixels=40)) == (enough,)


def test_select_faces_keeps_all_by_default() -> None:
    assert len(select_faces([face(i, 0, 10 + i) for i in range(30)], JobOptions())) == 30


def test_create_window_puts_a_tracklets_crops_in_order_at_the_front() -> None:
    frames = [frame(i, value=20 * i) for i in range(4)]
    faces = [[face(10, 10, 50)], [], [face(11, 10, 50)], [face(12, 10, 50)]]

    (clip,) = create_window(seen(frames, faces)).clips

    assert clip.crops.shape == (3, CROP_SIZE, CROP_SIZE, 3)
    assert clip.crops.dtype == np.uint8
    assert [crop[CROP_SIZE // 2, CROP_SIZE // 2, 0] for crop in clip.crops] == [0, 40, 60]


def test_create_window_makes_one_clip_a_person() -> None:
    frames = [frame(i, value=50) for i in range(CLIP_FRAMES)]
    faces = [[face(10, 10, 50), face(130, 10, 40)]] * CLIP_FRAMES

    left, right = create_window(seen(frames, faces)).clips

    assert left.crops[:, 128, 128].tolist() == [[50] * 3] * CLIP_FRAMES
    assert right.crops[:, 128, 128].tolist() == [[205] * 3] * CLIP_FRAMES


def test_create_window_without_faces_has_no_clips() -> None:
    window = create_window(seen([frame(3), frame(4)], [[], []]))

    assert window.clips == ()
    assert [each.faces for each in window.frames] == [(), ()]
    assert [each.number for each in window.frames] == [3, 4]
    assert [each.pts_seconds for each in window.frames] == [3 / 25, 4 / 25]


def test_create_window_sees_no_picture_in_black_frames() -> None:
    black = Frame(0, 0.0, np.zeros((40, 40, 3), np.uint8))

    window = create_window(seen([black], [[]]))

    assert window.first_signature is None
    assert window.last_signature is None


@pytest.mark.parametrize("count", [0, CLIP_FRAMES + 1])
def test_create_window_refuses_other_lengths(count: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 8 frames"):
        create_window(seen([frame(i) for i in range(count)], [[]] * count))
