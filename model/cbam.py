"""Convolutional Block Attention Module (Woo et al., ECCV 2018, arXiv 1807.06521).

Follows the authors' code (Jongchan/attention-module) where the paper leaves details open: the shared MLP has biases,
the channel maps are stacked (max, mean), and BatchNorm follows the 7x7 convolution. Deviation: none.
"""

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Which channels matter: one MLP over the mean-pooled and the max-pooled map, summed (section 3, equation 2)."""

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        # A narrow ablation network would otherwise end up without hidden units.
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (B, C, H, W) -> attention (B, C, 1, 1) in 0..1."""
        pooled = torch.stack([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))])  # (2, B, C)
        attention: Tensor = self.mlp(pooled).sum(dim=0).sigmoid()
        return attention[:, :, None, None]


class SpatialAttention(nn.Module):
    """Where to look: a 7x7 convolution over the maps of channel maxima and means (section 3, equation 3)."""

    def __init__(self, *, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(1, eps=1e-5, momentum=0.01)  # the authors' momentum

    def forward(self, x: Tensor) -> Tensor:
        """Feature map (B, C, H, W) -> attention (B, 1, H, W) in 0..1."""
        pooled = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)  # (B, 2, H, W)
        attention: Tensor = self.norm(self.conv(pooled)).sigmoid()
        return attention


class CBAM(nn.Module):
    """Channel attention, then spatial attention (section 3, equation 1)."""

    def __init__(self, channels: int, *, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction=reduction)
        self.spatial = SpatialAttention(kernel_size=kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x * self.channel(x)
        refined: Tensor = x * self.spatial(x)
        return refined
