"""Builds a miniature Aff-Wild2 tree: videos of 32 x 32 crops whose colour is the label, which a tiny network learns."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.affwild2 import HEADER
from model.checkpoint import save_checkpoint
from model.network import EmotionNet, EmotionNetConfig
from model.transforms import ClipTransformConfig

CROP_PIXELS = 32
TINY_NETWORK = EmotionNetConfig(depth=18, stem="small", hidden=8, classifier_hidden=8)
TINY_TRANSFORM = ClipTransformConfig(size=16)


def colour_crop(label: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """A crop of one colour per label with noise on it; -1 gives gray."""
    colours = [(128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]
    colour = np.array(colours[label] if label >= 0 else (40, 40, 40))
    noise = np.random.default_rng(seed).integers(-20, 20, (CROP_PIXELS, CROP_PIXELS, 3))
    return np.clip(colour + noise, 0, 255).astype(np.uint8)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_annotation(root: Path, split: str, video: str, labels: Sequence[int | str]) -> Path:
    """Write one annotation file as the release does."""
    path = root / "annotations" / "EXPR_Set" / split / f"{video}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(HEADER), *map(str, labels)]) + "\n")
    return path


def write_video(root: Path, split: str, video: str, labels: Sequence[int], *, faceless: Sequence[int] = ()) -> None:
    """Write crops and annotation of one video; frames in `faceless`, counted from 1, get no crop."""
    write_annotation(root, split, video, labels)
    for number, label in enumerate(labels, start=1):
        if number not in faceless:
            write_image(root / "cropped_aligned" / video / f"{number:05}.jpg", colour_crop(label, seed=number))


def write_affwild2(root: Path) -> Path:
    """Write a tree with all seven classes in both splits, gaps in faces and labels, and a second person."""
    for k in range(4):
        labels = [(k + i // 10) % 7 for i in range(70)]
        write_video(root, "Train_Set", f"video{k}", labels, faceless=(33,))
    write_video(root, "Train_Set", "video4_left", [0] * 10 + [-1] * 4 + [6] * 12)
    write_video(root, "Train_Set", "short", [1] * 7)
    write_video(root, "Validation_Set", "video8", [i // 3 % 7 for i in range(42)], faceless=(5, 6))
    write_video(root, "Validation_Set", "video8_right", [-1, *(i // 2 % 7 for i in range(20))])
    return root


def write_tiny_checkpoint(path: Path, *, temperature: float = 1.0) -> Path:
    """Write a checkpoint of a tiny untrained network, the same at each call."""
    torch.manual_seed(0)
    network = EmotionNet(TINY_NETWORK).eval()
    save_checkpoint(
        path, network, transform=TINY_TRANSFORM, temperature=temperature, name="tiny", metrics={"recipe": "untrained"}
    )
    return path
