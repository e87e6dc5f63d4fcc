"""ResNet-CBAM-BLSTM ("Emotion Recognition for In-the-wild Videos", ABAW 2020, figure 1).

A backbone per frame, a BLSTM per clip, a classifier per frame. Open in the paper and chosen here: one bidirectional
layer, `hidden` units a direction, one hidden fully connected layer.
Deviation: dropout before the classifier, none in the paper's configuration.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from model.backbone import LAYERS, Depth, Stem, create_backbone, feature_width
from model.labels import EMOTIONS


@dataclass(frozen=True, slots=True)
class EmotionNetConfig:
    """Everything that decides the network's shape; it travels in the checkpoint."""

    architecture: Literal["resnet_blstm", "mobilenet_v2"] = "resnet_blstm"
    """`mobilenet_v2` is the competition's frame-wise baseline (Table I) and ignores the fields below."""
    depth: Depth = 101
    cbam: bool = True
    stem: Stem = "imagenet"
    hidden: int = 256
    """LSTM units in each direction."""
    classifier_hidden: int = 256
    dropout: float = 0.0
    """Share of features zeroed before the classifier while training, 0..1."""
    temporal_residual: bool = False
    """Whether the BLSTM refines a frame-wise classification by addition; stills then pre-train all but the BLSTM."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.depth not in LAYERS:
            raise ValueError(f"expected depth in {sorted(LAYERS)}, got {self.depth}")
        if self.hidden < 1 or self.classifier_hidden < 1:
            raise ValueError(f"expected positive widths, got {self.hidden = }, {self.classifier_hidden = }")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"expected dropout in 0..1, got {self.dropout}")

    def to_json(self) -> dict[str, Any]:
        """Plain fields, for the checkpoint's metadata."""
        return asdict(self)


class EmotionNet(nn.Module):
    """Clips of aligned faces -> logits of the seven expressions for every frame."""

    mirror_average: bool = False
    """Whether, outside of training, a frame's features are the mean of its own and of its mirror image's.

    Not in the paper; Simonyan & Zisserman (arXiv 1409.1556, section 3.2) average mirror images when testing.
    """

    def __init__(self, config: EmotionNetConfig) -> None:
        super().__init__()
        self.config = config
        width = feature_width(config.depth)
        self.backbone = create_backbone(config.depth, cbam=config.cbam, stem=config.stem)
        self.blstm = nn.LSTM(width, config.hidden, batch_first=True, bidirectional=True)
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.hidden, config.classifier_hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.classifier_hidden, len(EMOTIONS)),
        )
        self.frame_classifier = (
            nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, len(EMOTIONS)))
            if config.temporal_residual
            else None
        )

    def forward(self, clips: Tensor, *, repeat: int = 1) -> Tensor:
        """(B, T, C, S, S) float normalised crops, zeros where a clip is padded -> logits (B, T, 7).

        A clip of one frame stands for `repeat` equal ones, whose features are computed once:
        (B, 1, C, S, S) -> (B, repeat, 7).
        """
        features = self.extract_features(clips)
        return self.classify(features if repeat == 1 else features.expand(-1, repeat, -1))

    def extract_features(self, clips: Tensor) -> Tensor:
        """(B, T, C, S, S) -> frame features (B, T, D)."""
        frames = clips.flatten(0, 1)
        features: Tensor = self.backbone(frames)
        if self.mirror_average and not self.training:
            features = (features + self.backbone(frames.flip(-1))) / 2
        clipped: Tensor = features.unflatten(0, clips.shape[:2])
        return clipped

    def classify(self, features: Tensor) -> Tensor:
        """Frame features (B, T, D) -> logits (B, T, 7)."""
        # Small differences add up over time, and this is a hundredth of the work: never in half precision.
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            sequence, _ = self.blstm(features)  # (B, T, 2 hidden)
            logits: Tensor = self.classifier(sequence)
            return logits if self.frame_classifier is None else logits + self.frame_classifier(features)
