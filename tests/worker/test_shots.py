"""Hard cuts against motion, flashes and black frames, on real pictures and, where they are there, real videos."""

from collections.abc import Callable
from itertools import islice, permutations
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from worker.shots import decode_signature, encode_signature, find_cuts, is_cut, is_informative, picture_signature

Picture = NDArray[np.uint8]
PHOTOS = (data.astronaut, data.coffee, data.chelsea, data.rocket)


def view(photo: Picture, *, left: float, top: float, size: float) -> Picture:
    """Part of a photo, as a camera sees it; all in shares of the photo's sides."""
    height, width = photo.shape[:2]
    return photo[round(top * height) : round((top + size) * height), round(left * width) : round((left + size) * width)]


def shine(photo: Picture, *, gain: float, offset: float = 0) -> Picture:
    return np.asarray(np.clip(photo * gain + offset, 0, 255), np.uint8)


@pytest.mark.parametrize(("before", "after"), list(permutations(PHOTOS, 2)))
def test_is_cut_between_two_photos(before: Callable[[], Picture], after: Callable[[], Picture]) -> None:
    assert is_cut(picture_signature(before()), picture_signature(after()))


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("step", [0.03, 0.1])
def test_is_cut_ignores_pans(photo: Callable[[], Picture], step: float) -> None:
    picture = photo()
    views = [picture_signature(view(picture, left=left, top=0.2, size=0.5)) for left in np.arange(0, 0.5, step)]

    assert find_cuts(views) == []


@pytest.mark.parametrize("photo", PHOTOS)
def test_is_cut_ignores_zooms(photo: Callable[[], Picture]) -> None:
    picture = photo()
    views = [
        picture_signature(view(picture, left=margin, top=margin, size=1 - 2 * margin))
        for margin in (0, 0.05, 0.1, 0.15)
    ]

    assert find_cuts(views) == []


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize(("gain", "offset"), [(1.5, 0), (1.5, 60), (2.5, 40), (0.5, 0), (0.1, 0)])
def test_is_cut_ignores_flashes_and_exposure(photo: Callable[[], Picture], gain: float, offset: float) -> None:
    picture = photo()

    assert not is_cut(picture_signature(picture), picture_signature(shine(picture, gain=gain, offset=offset)))


@pytest.mark.parametrize("blank", [0, 128, 255])
def test_find_cuts_looks_past_blank_frames(blank: int) -> None:
    nothing = picture_signature(np.full((72, 128, 3), blank, np.uint8))
    one, other = picture_signature(data.astronaut()), picture_signature(data.coffee())

    assert not is_informative(nothing)
    assert find_cuts([one, nothing, one]) == []
    assert find_cuts([one, nothing, nothing, other, other]) == [3]
    assert find_cuts([nothing, one]) == []


def test_signature_survives_its_text_form() -> None:
    signature = picture_signature(data.astronaut())

    np.testing.assert_array_equal(decode_signature(encode_signature(signature)), signature)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 4000, 3), (4320, 16, 3)])
def test_picture_signature_takes_any_shape(shape: tuple[int, int, int]) -> None:
    assert picture_signature(np.zeros(shape, np.uint8)).shape == (18, 32, 3)


@pytest.mark.parametrize("frames_apart", [1, 12])
def test_find_cuts_finds_none_inside_and_all_between_real_videos(shared_data: Path, frames_apart: int) -> None:
    names = ("WolfgangLanger_Pexels.mp4", "bbaf2n.mpg", "bottle-detection.mp4", "facenet_pytorch_group.mp4", "help.mkv")
    shots = []
    for name in names:
        with av.open(shared_data / "videos" / name) as container:
            frames = (frame.to_rgb().to_ndarray().astype(np.uint8) for frame in islice(container.decode(video=0), 60))
            shots.append([picture_signature(frame) for frame in frames][::frames_apart])
    begins = np.cumsum([len(shot) for shot in shots])[:-1]

    assert find_cuts([signature for shot in shots for signature in shot]) == begins.tolist()
