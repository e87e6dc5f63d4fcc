"""Annotated frames: colours at known places, bars that keep their side, faces that lose their detail."""

import numpy as np
import pytest
from numpy.typing import NDArray

from app.palette import EMOTION_COLORS
from model.labels import EMOTIONS, Emotion
from tests.app.rows import create_face
from tests.videos import face_scene
from worker.annotator import Annotator
from worker.contract import Box, FaceRow
from worker.shown_faces import Shown
from worker.text import draw_text, measure_text

Picture = NDArray[np.uint8]
ANGER = (0xD5, 0x5E, 0x00)
GRAY = 96


def draw(picture: Picture, *faces: FaceRow, blur_faces: bool = False) -> Picture:
    annotator = Annotator(colors=EMOTION_COLORS, blur_faces=blur_faces)
    annotator.draw(picture, Shown(faces, tuple(face.box for face in faces)))
    return picture


def face(box: Box, *, track: int = 1, probability: float = 0.7) -> FaceRow:
    return create_face(track, Emotion.ANGER, probability=probability).model_copy(update={"box": box})


def blank(width: int = 640, height: int = 360) -> Picture:
    return np.full((height, width, 3), GRAY, np.uint8)


def count(picture: Picture, color: tuple[int, int, int]) -> int:
    return int((picture == color).all(axis=2).sum())


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1920, 1080)])
def test_the_box_has_the_colour_of_the_expression(width: int, height: int) -> None:
    picture = draw(blank(width, height), face((100.0, 120.0, 220.0, 260.0)))

    for x, y in [(160, 120), (160, 259), (100, 190), (219, 190)]:
        assert tuple(picture[y, x]) == ANGER
    assert tuple(picture[190, 160]) == (GRAY,) * 3


def test_bars_are_as_long_as_the_probabilities() -> None:
    low, high = (count(draw(blank(), face((60, 90, 160, 200), probability=p)), ANGER) for p in (0.3, 0.9))
    label_and_box = count(draw(blank(200, 150), face((60, 90, 160, 140), probability=0.9)), ANGER)

    assert high > low
    assert label_and_box > 0


def test_bars_beside_the_face_leave_other_faces_free() -> None:
    other = (170.0, 90.0, 270.0, 200.0)
    picture = draw(blank(), face((60.0, 90.0, 160.0, 200.0)), face(other, track=2))

    assert (picture[110:180, 180:260] == GRAY).all()


def test_bars_keep_their_side_while_they_can() -> None:
    annotator = Annotator(colors=EMOTION_COLORS)
    near_the_right_edge, back = face((500.0, 100.0, 600.0, 200.0)), face((200.0, 100.0, 300.0, 200.0))

    annotator.draw(blank(), Shown((near_the_right_edge,), ()))
    picture = blank()
    annotator.draw(picture, Shown((back,), ()))

    left, right = picture[100:200, 80:190], picture[100:200, 310:420]
    assert (left != GRAY).any()
    assert (right == GRAY).all()


def test_a_face_without_room_for_bars_carries_them_inside() -> None:
    picture = draw(blank(120, 100), face((10.0, 30.0, 110.0, 95.0), probability=0.5))

    inside = picture[30:95, 14:106].reshape(-1, 3)
    assert {tuple(color) for color in inside} >= {(0x00, 0x9E, 0x73), (0xF0, 0xE4, 0x42), (0x00, 0x72, 0xB2)}


def test_faces_at_and_beyond_the_edges_do_not_break_the_drawing() -> None:
    for box in [
        (-20.0, -10.0, 40.0, 50.0),
        (600.0, 330.0, 700.0, 400.0),
        (0.0, 0.0, 640.0, 360.0),
        (5.0, 5.0, 5.0, 5.0),
    ]:
        draw(blank(), face(box), blur_faces=True)
        draw(blank(31, 17), face(box), blur_faces=True)


def test_no_label_lies_on_another_in_a_crowd() -> None:
    boxes = [(20.0 + 80 * i, 40.0 + 110 * j, 75.0 + 80 * i, 110.0 + 110 * j) for i in range(7) for j in range(3)]
    picture = draw(blank(), *(face(box, track=number) for number, box in enumerate(boxes, 1)))

    for left, top, right, bottom in boxes:  # what is inside of a box stays free but for the bar at its lower edge
        assert (picture[int(top) + 5 : int(bottom) - 20, int(left) + 5 : int(right) - 5] == GRAY).all()


def test_blurred_faces_lose_their_detail_and_the_rest_keeps_it() -> None:
    scene = face_scene(width=640, height=360)(0)
    box = (100.0, 100.0, 220.0, 260.0)
    annotator = Annotator(colors=EMOTION_COLORS, blur_faces=True)
    picture = scene.copy()
    annotator.draw(picture, Shown((), (box,)))

    inside = (slice(100, 260), slice(100, 220))
    assert detail(picture[inside]) < detail(scene[inside]) / 5
    outside = (slice(0, 50), slice(0, 640))
    np.testing.assert_array_equal(picture[outside], scene[outside])


def detail(picture: Picture) -> float:
    """Mean difference between neighbouring pixels."""
    values = picture.astype(np.float64)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


def test_text_can_be_read_at_the_smallest_size() -> None:
    masks = []
    for emotion in EMOTIONS:
        width, height = measure_text(emotion.value, pixels=12)
        picture = np.zeros((height, 100, 3), np.uint8)
        draw_text(picture, emotion.value, left=0, top=0, pixels=12, color=(255, 255, 255))
        assert width >= 6 * len(emotion.value)
        assert picture.max() > 200  # strokes are not washed out
        masks.append(picture.tobytes())
    assert len(set(masks)) == len(EMOTIONS)


def test_text_is_cut_off_at_the_edges() -> None:
    picture = np.zeros((10, 10, 3), np.uint8)

    for left, top in [(-5, -5), (8, 8), (50, 50), (-500, 0)]:
        draw_text(picture, "happiness", left=left, top=top, pixels=20, color=(255, 255, 255))

    assert picture.any()
