"""Aligned crops -> the network's input: the one transform of evaluation and serving; it travels in the checkpoint."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights of red, green and blue, as JPEG and OpenCV turn colour to gray."""


@dataclass(frozen=True, slots=True)
class ClipTransformConfig:
    """Everything that decides how pixels become input."""

    size: int = 256
    """Side of the input in pixels; the paper's crops are 256 x 256."""
    colour: Literal["rgb", "gray"] = "rgb"
    """`gray` gives three equal channels of luma: colour and gray sources look alike."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Of the channels in 0..1; by default ImageNet's, as torchvision's weights expect."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.size < 1:
            raise ValueError(f"expected size >= 1, got {self.size}")
        if min(self.std) <= 0:
            raise ValueError(f"expected std > 0, got {self.std}")


class ClipTransform:
    """Resizes (bilinear, antialiased), grays if asked, normalises; frames of zeros are padding and stay zero."""

    def __init__(self, config: ClipTransformConfig) -> None:
        self.config = config

    def __call__(self, crops: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 RGB on any device -> (B, T, 3, S, S) float32 on the same."""
        if crops.ndim != 5 or crops.shape[-1] != 3 or crops.dtype != torch.uint8:
            raise ValueError(f"expected crops (B, T, H, W, 3) uint8, got {tuple(crops.shape)} {crops.dtype}")
        size = (self.config.size, self.config.size)
        frames = crops.flatten(0, 1).permute(0, 3, 1, 2).float() / 255  # (N, 3, H, W)
        if frames.shape[2:] != size:
            frames = interpolate(frames, size=size, mode="bilinear", antialias=True, align_corners=False)
        if self.config.colour == "gray":
            weights = torch.tensor(LUMA, device=frames.device)
            frames = (frames * weights[:, None, None]).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        mean, std = torch.tensor([self.config.mean, self.config.std], device=frames.device)[:, :, None, None]
        frames = (frames - mean) / std
        is_padding = (crops == 0).flatten(2).all(dim=2).flatten()  # (N,)
        frames = frames.masked_fill(is_padding[:, None, None, None], 0).contiguous()
        clips: Tensor = frames.unflatten(0, crops.shape[:2])
        return clips
