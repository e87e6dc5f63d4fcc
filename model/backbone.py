"""ResNet-18/34/50/101 (He et al., CVPR 2016) with CBAM in every residual block, or without it for the paper's ablation.

torchvision's ResNet with its blocks replaced. CBAM sits after the block's last BatchNorm and before the residual
addition, as in the authors' code (Jongchan/attention-module) and figure 3 of the CBAM paper. With `cbam=False` the
network is torchvision's own. Deviation: `stem="small"` starts with a 3x3 convolution instead of 7x7 and drops the max
pooling, for crops far below 224 pixels.
"""

from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from model.cbam import CBAM

Depth = Literal[18, 34, 50, 101]
Stem = Literal["imagenet", "small"]

LAYERS: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
}


class CBAMBasicBlock(BasicBlock):  # type: ignore[misc]  # torchvision carries no types
    """Two 3x3 convolutions, CBAM, residual addition."""

    def __init__(self, inplanes: int, planes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(inplanes, planes, *args, **kwargs)
        self.cbam = CBAM(planes * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.cbam(self.bn2(self.conv2(out)))
        identity = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(out + identity)
        return summed


class CBAMBottleneck(Bottleneck):  # type: ignore[misc]  # likewise
    """1x1, 3x3 and 1x1 convolutions, CBAM, residual addition."""

    def __init__(self, inplanes: int, planes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(inplanes, planes, *args, **kwargs)
        self.cbam = CBAM(planes * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.cbam(self.bn3(self.conv3(out)))
        identity = x if self.downsample is None else self.downsample(x)
        summed: Tensor = self.relu(out + identity)
        return summed


WITH_CBAM: dict[type[BasicBlock | Bottleneck], type[BasicBlock | Bottleneck]] = {
    BasicBlock: CBAMBasicBlock,
    Bottleneck: CBAMBottleneck,
}


def create_backbone(depth: Depth, *, cbam: bool, stem: Stem = "imagenet") -> ResNet:
    """Build a feature extractor (B, 3, H, W) float -> (B, D): D is 512 for ResNet-18 and 34, 2048 for 50 and 101."""
    block, layers = LAYERS[depth]
    network = ResNet(WITH_CBAM[block] if cbam else block, layers)
    network.fc = nn.Identity()  # features are wanted, not logits
    if stem == "small":
        network.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()
    return network


def feature_width(depth: Depth) -> int:
    """Length D of the backbone's feature vector."""
    width: int = 512 * LAYERS[depth][0].expansion
    return width
