"""The competition's baseline (ABAW 2020, arXiv 2001.11409, section 5; Table I's first row): MobileNetV2 frame by frame.

torchvision's MobileNetV2 with seven outputs, no temporal part: a frame's logits depend on that frame alone. It has
EmotionNet's methods. Deviation: it starts from scratch or from the first stage's stills, not from ImageNet, because
nothing is downloaded.
"""

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from model.labels import EMOTIONS
from model.network import EmotionNet, EmotionNetConfig


class FrameWiseMobileNet(EmotionNet):
    """Clips of aligned faces -> logits of the seven expressions, each frame for itself."""

    def __init__(self, config: EmotionNetConfig) -> None:
        if config.architecture != "mobilenet_v2":
            raise ValueError(f"expected architecture 'mobilenet_v2', got {config.architecture!r}")
        nn.Module.__init__(self)  # EmotionNet's methods are wanted, its layers are not
        self.config = config
        network = mobilenet_v2(weights=None)
        self.backbone = nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(network.last_channel, len(EMOTIONS)))

    def classify(self, features: Tensor) -> Tensor:
        """Frame features (B, T, D) -> logits (B, T, 7)."""
        logits: Tensor = self.classifier(features)
        return logits
