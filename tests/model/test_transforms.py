"""The transform of evaluation and serving: geometry, colour, normalisation, and padding that stays padding."""

import pytest
import torch

from model.transforms import ClipTransform, ClipTransformConfig

ZEROS, ONES = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def random_crops(*, frames: int = 2, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (1, frames, side, side, 3), generator=generator, dtype=torch.uint8)


def test_crops_of_any_size_become_channels_first_squares() -> None:
    transform = ClipTransform(ClipTransformConfig(size=48))

    assert transform(random_crops(side=256)).shape == (1, 2, 3, 48, 48)
    assert transform(random_crops(side=31)).dtype == torch.float32


def test_channels_are_normalised_by_mean_and_deviation() -> None:
    crops = random_crops(side=16)
    config = ClipTransformConfig(size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))

    green = ClipTransform(config)(crops)[:, :, 1]

    torch.testing.assert_close(green, (crops[..., 1] / 255 - 0.2) / 0.6)


def test_downscaling_averages_instead_of_aliasing() -> None:
    stripes = torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8)
    stripes[:, :, :, ::2] = 255

    small = ClipTransform(ClipTransformConfig(size=16, mean=ZEROS, std=ONES))(stripes)

    assert (small[..., 2:-2] - 0.5).abs().max() < 0.05


def test_gray_makes_colour_and_gray_sources_look_alike() -> None:
    colour = random_crops(side=16)
    luma = (colour.float() @ torch.tensor([0.299, 0.587, 0.114])).round().to(torch.uint8)
    transform = ClipTransform(ClipTransformConfig(size=16, colour="gray", mean=ZEROS, std=ONES))

    from_colour, from_gray = transform(colour), transform(luma[..., None].expand(-1, -1, -1, -1, 3))

    assert torch.equal(from_colour[:, :, 0], from_colour[:, :, 2])
    torch.testing.assert_close(from_colour, from_gray, atol=0.6 / 255, rtol=0)  # rounding to whole gray levels


def test_frames_of_zeros_stay_zero_and_others_do_not() -> None:
    crops = random_crops(frames=3)
    crops[:, 2] = 0

    clip = ClipTransform(ClipTransformConfig(size=32))(crops)

    assert clip[:, 2].abs().max() == 0
    assert clip[:, :2].abs().amax(dim=(2, 3, 4)).min() > 0


def test_a_frame_does_not_depend_on_its_neighbours() -> None:
    crops = random_crops(frames=8)
    transform = ClipTransform(ClipTransformConfig(size=32))

    torch.testing.assert_close(transform(crops)[:, 5:6], transform(crops[:, 5:6]), atol=0, rtol=0)


@pytest.mark.parametrize(
    "crops", [torch.zeros(2, 64, 64, 3, dtype=torch.uint8), torch.zeros(1, 2, 64, 64, 3), torch.zeros(1, 2, 3, 64, 64)]
)
def test_other_shapes_and_types_are_refused(crops: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected crops \(B, T, H, W, 3\) uint8"):
        ClipTransform(ClipTransformConfig())(crops)
