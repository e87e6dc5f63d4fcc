"""The competition's baseline (ABAW 2020, arXiv 2001.11409, section 5; Table I's first row): MobileNetV2 frame by frame.

torchvision's MobileNetV2 with seven outputs, no temporal part: a frame's logits depend on that frame alone. It has
EmotionNet's methods. Deviation: trained from scratch or from the first stage's stills, not from ImageNet: no weights are
downloaded.
"""

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from model.labels import EMOTIONS
from model.network import EmotionNetConfig


class FrameWiseMobileNet(nn.Module):
    """Clips of aligned faces -> logits of the seven expressions, each frame for itself."""

    def __init__(self, config: EmotionNetConfig) -> None:
        super().__init__()
        if config.architecture != "mobilenet_v2":
            raise ValueError(f"expected architecture 'mobilenet_v2', got {config.architecture!r}")
        self.config = config
        network = mobilenet_v2(weights=None)
        self.backbone = nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(network.last_channel, len(EMOTIONS)))

    def forward(self, clips: Tensor) -> Tensor:
        """(B, T, C, S, S) float normalised crops, zeros where a clip is padded -> logits (B, T, 7)."""
        return self.classify(self.extract_features(clips))

    def extract_features(self, clips: Tensor) -> Tensor:
        """(B, T, C, S, S) -> frame features (B, T, D)."""
        features: Tensor = self.backbone(clips.flatten(0, 1))
        clipped: Tensor = features.unflatten(0, clips.shape[:2])
        return clipped

    def classify(self, features: Tensor) -> Tensor:
        """Frame features (B, T, D) -> logits (B, T, 7)."""
        logits: Tensor = self.classifier(features)
        return logits
