"""The backbone against torchvision's ResNet where CBAM is off, and its shape where it is on."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet34, resnet50, resnet101

from model.backbone import Depth, Stem, create_backbone, feature_width
from model.cbam import CBAM

BUILDERS = {18: resnet18, 34: resnet34, 50: resnet50, 101: resnet101}


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_without_cbam_the_backbone_is_torchvisions_resnet(depth: Depth) -> None:
    torch.manual_seed(0)
    reference = BUILDERS[depth](weights=None).eval()
    reference.fc = nn.Identity()
    backbone = create_backbone(depth, cbam=False).eval()

    backbone.load_state_dict(reference.state_dict())  # strict: the same names and shapes, so ImageNet weights load too
    frames = torch.randn(2, 3, 64, 64)

    with torch.inference_mode():
        torch.testing.assert_close(backbone(frames), reference(frames), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("depth", "blocks"), [(18, 8), (34, 16), (50, 16), (101, 33)])
def test_every_residual_block_has_its_cbam(depth: Depth, blocks: int) -> None:
    backbone = create_backbone(depth, cbam=True)

    assert sum(isinstance(module, CBAM) for module in backbone.modules()) == blocks


def test_the_small_stem_keeps_four_times_the_positions() -> None:
    frames = torch.randn(1, 3, 64, 64)
    maps: dict[str, torch.Size] = {}
    stems: tuple[Stem, ...] = ("imagenet", "small")
    for stem in stems:
        backbone = create_backbone(18, cbam=True, stem=stem).eval()
        backbone.avgpool.register_forward_hook(lambda _, args, __, stem=stem: maps.__setitem__(stem, args[0].shape[2:]))
        backbone(frames)

    assert maps["small"].numel() == 4 * maps["imagenet"].numel()


@pytest.mark.parametrize("depth", [18, 50])
def test_features_have_the_width_that_is_promised(depth: Depth) -> None:
    with torch.inference_mode():
        assert create_backbone(depth, cbam=True).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, feature_width(depth))
