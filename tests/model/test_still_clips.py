"""Clips made of stills: reproducible by number, varied but recognisable, targets along with the pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.augmentation import MASTER_SIDE, RANGES, View, ViewRanges, degrade, draw_path, render
from model.errors import DatasetError
from model.image_tree import ImageTree
from model.soft_stills import SoftStill
from model.still_clips import StillClipViews, load_master
from model.transforms import ClipTransform, ClipTransformConfig
from tests.model.miniature import colour_crop, write_image

SIZE = 32
TRANSFORM = ClipTransform(ClipTransformConfig(size=SIZE, colour="gray"))
STILL_POSE = ViewRanges(rotation_degrees=0, scale=0, shift=0, stretch=0, gamma=0, contrast=0, brightness=0)


@pytest.fixture
def stills(tmp_path: Path) -> list[SoftStill]:
    for label in range(7):
        write_image(tmp_path / f"{label}.jpg", colour_crop(label))
    tree = ImageTree(tmp_path)
    return [SoftStill(tree, f"{label}.jpg", np.eye(7, dtype=np.float32)[label]) for label in range(7)]


def create_clips(stills: list[SoftStill], *, frames: int, seed: int = 1) -> StillClipViews:
    return StillClipViews(stills, np.full(7, 1 / 7), TRANSFORM, frames=frames, seed=seed)


def ramp() -> NDArray[np.uint8]:
    """Brightness from left to right."""
    return np.tile(np.linspace(0, 255, MASTER_SIDE).astype(np.uint8), (MASTER_SIDE, 1))


@pytest.mark.parametrize("frames", [1, 8])
def test_a_clip_has_the_networks_shape_and_targets_that_sum_to_one_or_none(
    stills: list[SoftStill], frames: int
) -> None:
    clips = create_clips(stills, frames=frames)

    for number in range(30):
        clip, targets = clips[number]
        assert clip.shape == (frames, 3, SIZE, SIZE)
        is_padding = (clip == 0).flatten(1).all(dim=1)
        torch.testing.assert_close(targets.sum(dim=1), (~is_padding).float())


def test_a_clip_is_a_function_of_seed_and_number(stills: list[SoftStill]) -> None:
    first, again, other = (create_clips(stills, frames=8, seed=seed) for seed in (1, 1, 2))

    assert torch.equal(first[5][0], again[5][0])
    assert not torch.equal(first[5][0], first[6][0])
    assert not torch.equal(first[5][0], other[5][0])


def test_clips_show_transitions_and_missing_frames(stills: list[SoftStill]) -> None:
    clips = create_clips(stills, frames=8)

    targets = torch.stack([clips[number][1] for number in range(200)])

    shown = targets.sum(dim=2) > 0.5
    assert 0.08 < (~shown.all(dim=1)).float().mean() < 0.25  # 15 % asked for
    assert bool(shown[:, 0].all())  # what is missing is missing at the end
    changes = (targets[:, 0] != targets[:, -1]).any(dim=1) & shown.all(dim=1)
    assert changes.float().mean() > 0.15


def test_a_path_without_departure_shows_the_still_itself() -> None:
    (view,) = draw_path(np.random.default_rng(0), 1, size=MASTER_SIDE, ranges=STILL_POSE)

    shown = render(ramp(), view, size=MASTER_SIDE)

    is_mirrored = view.matrix[0, 0] < 0
    np.testing.assert_array_equal(shown[:, ::-1] if is_mirrored else shown, ramp())


def test_a_path_is_slow(stills: list[SoftStill]) -> None:
    for seed in range(20):
        path = draw_path(np.random.default_rng(seed), 8, size=SIZE)
        centres = np.array([view.matrix @ [MASTER_SIDE / 2, MASTER_SIDE / 2, 1] for view in path])
        # a seventh of the widest way (0.4 x 2 x 7 %) a frame, and the tremor
        assert np.abs(np.diff(centres, axis=0)).max() < SIZE * RANGES.shift * (0.8 / 7 + 0.2)


def test_render_applies_light() -> None:
    identity = np.array([[1.0, 0, 0], [0, 1.0, 0]])

    brighter = render(ramp(), View(identity, gamma=1.0, gain=1.0, offset=40.0), size=MASTER_SIDE)

    assert brighter[0, 0] == 40
    assert brighter[0, -1] == 255


def test_degrade_keeps_shape_and_is_alike_over_a_clip() -> None:
    frames = np.repeat(ramp()[None], 3, axis=0)

    changed = [degrade(frames, np.random.default_rng(seed)) for seed in range(60)]

    assert all(c.shape == frames.shape and c.dtype == np.uint8 for c in changed)
    assert sum(not np.array_equal(c, frames) for c in changed) > 30


def test_degrade_without_softening_loses_no_detail() -> None:
    checks = np.indices((SIZE, SIZE)).sum(axis=0) // 2 % 2 * 120 + 60
    frames = checks.astype(np.uint8)[None]

    def spread(soften: bool) -> list[float]:
        """Typical distance from mid gray; the median, so that a covered patch, a quarter at most, changes nothing."""
        results = [degrade(frames, np.random.default_rng(seed), soften=soften) for seed in range(60)]
        return [float(np.median(np.abs(result.astype(float) - 120))) for result in results]

    assert min(spread(True)) < 30
    assert min(spread(False)) >= 50  # of 60; noise adds to it and takes from it


def test_a_missing_still_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.jpg"):
        load_master(SoftStill(ImageTree(tmp_path), "gone.jpg", np.eye(7, dtype=np.float32)[0]))
