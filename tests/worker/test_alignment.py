"""Alignment: landmarks land on the template, whatever the rotation, scale and place of the face."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.transform import SimilarityTransform

from worker.alignment import CROP_SIZE, TEMPLATE, align_face, similarity_to_template


def move_template(*, degrees: float, scale: float, shift: tuple[float, float]) -> NDArray[np.float64]:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(TEMPLATE * CROP_SIZE * scale @ turn.T + shift, dtype=np.float64)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (35, 0.3), (-120, 2.5), (180, 7.0)])
def test_similarity_undoes_rotation_scale_and_shift(degrees: float, scale: float) -> None:
    landmarks = move_template(degrees=degrees, scale=scale, shift=(33.0, -12.0))

    matrix = similarity_to_template(landmarks)

    mapped = landmarks @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(mapped, TEMPLATE * CROP_SIZE, atol=1e-6)  # float64 rounding


def test_similarity_equals_the_library_estimate_for_landmarks_that_fit_badly() -> None:
    landmarks = TEMPLATE * 90 + np.random.default_rng(5).normal(0, 6, (5, 2))
    expected = SimilarityTransform.from_estimate(landmarks, TEMPLATE * CROP_SIZE)

    np.testing.assert_allclose(similarity_to_template(landmarks), expected.params[:2], atol=1e-6)


def test_align_face_accepts_landmarks_on_one_point() -> None:
    crop = align_face(np.full((50, 60, 3), 9, np.uint8), np.full((5, 2), 20.0, np.float32))

    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert (crop == 9).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_align_face_gives_the_same_crop_at_any_resolution(scale: float) -> None:
    photo = np.asarray(data.astronaut(), np.uint8)
    landmarks = np.array([[204, 115], [246, 112], [226, 138], [207, 158], [248, 156]], np.float64)
    enlarged = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)

    crop = align_face(enlarged, (landmarks + 0.5) * scale - 0.5)

    reference = align_face(photo, landmarks)
    # resampling costs sharpness, half a pixel of misplacement would cost several times as much
    assert np.abs(crop.astype(int) - reference).mean() < 4


def test_align_face_averages_large_faces_instead_of_aliasing() -> None:
    stripes = np.zeros((2000, 2000, 3), np.uint8)
    stripes[:, ::2] = 255

    crop = align_face(stripes, move_template(degrees=0, scale=7.0, shift=(40.0, 40.0)))

    # Seven stripes to a pixel, so one more of either colour: 255 / 14 = 18 from the middle, and rounding. Aliased: 127.
    np.testing.assert_allclose(crop[20:-20, 20:-20], 127.5, atol=20)
