"""Clips of aligned crops -> probabilities of the seven expressions; device, number format and batch policy live here.

The backbone, nearly all of the work, runs with BatchNorm folded into its convolutions, channels last, in bfloat16
where the processor has instructions for it; BLSTM and classifier, whose small differences would add up over time,
stay in float32.

Batch policy: a clip's probabilities must not depend on which other clips are near it, because that depends on how a
video was split over workers. On a CPU every clip is one forward pass of its own frames (16 frames at once were only 8
% faster than 8); on CUDA all passes have one fixed shape.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.checkpoint import Checkpoint, create_network
from model.labels import CLIP_FRAMES
from model.transforms import ClipTransform

CUDA_CLIPS = 8
"""Clips in one forward pass on CUDA; the last pass is filled up with zeros."""


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA and on CPUs with AMX or AVX512-BF16, else float32.

    By the processor's features and not by a stop watch, so that equal workers choose alike. On an AMD EPYC with
    AVX512-BF16 a ResNet-18 + CBAM took 1.6 to 1.9 times as long in float32 (one thread, 64 to 112 pixels, batches of
    1 to 16).
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # Emulated bfloat16 is slower than float32, so mkldnn's own answer, which includes emulation, will not do.
    capabilities = torch.cpu.get_capabilities()
    has_bf16 = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    return torch.bfloat16 if has_bf16 else torch.float32


def fold_batch_norms(network: nn.Module) -> None:
    """Merge each BatchNorm into the convolution registered just before it, in place; for a network in eval mode."""
    for module in network.modules():
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())


class Predictor:
    """A checkpoint made ready to classify clips on one device; safe to call from several threads."""

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype | None = None) -> None:
        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype or choose_dtype(device)
        self._temperature = checkpoint.temperature
        self._transform = ClipTransform(checkpoint.transform)
        self._network = create_network(checkpoint).eval().to(device)
        fold_batch_norms(self._network)
        self._network.backbone.to(self.dtype, memory_format=torch.channels_last)
        size = checkpoint.transform.size
        # What the network makes of a padding frame: always the same, so computed once.
        with torch.inference_mode():
            self._padding = self._extract(torch.zeros(1, 3, size, size, device=device))  # (1, D)

    @torch.inference_mode()
    def predict(self, clips: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Classify clips of crops (T, H, W, 3) uint8 RGB, T <= 8, all crops of one size.

        Returns:
            For each clip, (T, 7) float32 probabilities, calibrated by the checkpoint's temperature.
        """
        for clip in clips:
            if not 0 < len(clip) <= CLIP_FRAMES:
                raise ValueError(f"expected 1 to {CLIP_FRAMES} frames, got {clip.shape = }")
        at_once = CUDA_CLIPS if self.device.type == "cuda" else 1
        results: list[NDArray[np.float32]] = []
        for start in range(0, len(clips), at_once):
            results += self._predict_group(clips[start : start + at_once], at_once)
        return results

    def _predict_group(self, clips: Sequence[NDArray[np.uint8]], at_once: int) -> list[NDArray[np.float32]]:
        lengths = [len(clip) for clip in clips]
        crops = np.concatenate(clips)
        if at_once > 1:  # one shape for every pass: the same kernels add up in the same order
            crops = np.concatenate([crops, np.zeros((at_once * CLIP_FRAMES - len(crops), *crops.shape[1:]), np.uint8)])
        frames = self._transform(torch.from_numpy(crops).to(self.device)[None])[0]  # (N, C, S, S)
        features = self._extract(frames)  # (N, D)
        padded = (
            self._padding.expand(at_once * CLIP_FRAMES, -1).unflatten(0, (at_once, CLIP_FRAMES)).clone()
        )  # (B, 8, D)
        for row, clip_features in zip(padded, features[: sum(lengths)].split(lengths), strict=False):
            row[: len(clip_features)] = clip_features
        logits = self._network.classify(padded).float()  # (B, 8, 7)
        probabilities = (logits / self._temperature).softmax(dim=-1).cpu().numpy()
        return [probabilities[i, :length] for i, length in enumerate(lengths)]

    def _extract(self, frames: Tensor) -> Tensor:
        """(N, C, S, S) -> features (N, D) float32."""
        frames = frames.to(self.dtype, memory_format=torch.channels_last)
        features: Tensor = self._network.extract_features(frames[None])[0].float()
        return features
