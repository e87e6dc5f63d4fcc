"""Runs a network over labelled stills or videos and keeps the logits: the forward pass of `evaluate` and of validation.

Crops go through the ClipTransform of serving and the same network; a still stands for a clip of eight equal frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.affwild2 import UNLABELLED, AnnotatedVideo, ClipPlace, evaluation_clips
from model.datasets import Still
from model.image_tree import ImageTree, resize_to
from model.labels import CLIP_FRAMES
from model.network import EmotionNet
from model.transforms import ClipTransform

OnProgress = Callable[[int], None]
"""Called with the number of items just done."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Logits of labelled items, in order."""

    names: tuple[str, ...]
    """(N,) path of each item in its tree."""
    groups: tuple[str, ...]
    """(N,) what belongs together: the recording of a frame, the still itself."""
    labels: NDArray[np.int64]
    """(N,) 0..6."""
    logits: NDArray[np.float32]
    """(N, 7) before any temperature."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How the crops come to the device."""

    device: torch.device
    batch_clips: int = 16
    workers: int = 0
    """Processes that read and transform; 0 does it in this one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the forward pass; `bf16` is for validation while training with it."""


class StillClips(Dataset[Tensor]):
    """Stills as clips of one frame, (1, C, S, S) float32 each."""

    def __init__(self, stills: Sequence[Still], transform: ClipTransform) -> None:
        self._stills = stills
        self._transform = transform

    def __len__(self) -> int:
        return len(self._stills)

    def __getitem__(self, index: int) -> Tensor:
        return self._transform(torch.from_numpy(self._stills[index].image())[None, None])[0]


class VideoClips(Dataset[Tensor]):
    """Clips of videos, padded with zeros, (8, C, S, S) float32 each."""

    def __init__(
        self,
        tree: ImageTree,
        videos: Sequence[AnnotatedVideo],
        places: Sequence[ClipPlace],
        transform: ClipTransform,
    ) -> None:
        self._tree = tree
        self._videos = videos
        self._places = places
        self._transform = transform

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Tensor:
        place = self._places[index]
        crops = load_clip(self._tree, self._videos[place.video], place)
        return self._transform(torch.from_numpy(crops)[None])[0]


def load_clip(tree: ImageTree, video: AnnotatedVideo, place: ClipPlace) -> NDArray[np.uint8]:
    """Return the crops of a clip as (8, H, W, 3) uint8 RGB, zeros after its last frame.

    Raises:
        DatasetError: A crop is missing or no picture.
    """
    crops = [tree.image(name) for name in video.crops[place.start : place.start + place.length]]
    height, width = crops[0].shape[:2]
    clip = np.zeros((CLIP_FRAMES, height, width, 3), np.uint8)
    for i, crop in enumerate(crops):
        clip[i] = resize_to(crop, height=height, width=width)
    return clip


def predict_stills(
    network: EmotionNet,
    transform: ClipTransform,
    stills: Sequence[Still],
    *,
    loading: Loading,
    on_progress: OnProgress | None = None,
) -> Predictions:
    """Classify each still as a clip of eight equal frames; its logits are the mean over the eight.

    Raises:
        DatasetError: A file is missing or no picture.
    """

    def classify(clips: Tensor) -> Tensor:
        # eight equal frames have eight equal feature vectors: computed once
        features = network.extract_features(clips).expand(-1, CLIP_FRAMES, -1)
        return network.classify(features).mean(dim=1)

    logits = _run(network, StillClips(stills, transform), classify, loading=loading, on_progress=on_progress)
    names = tuple(still.name for still in stills)
    return Predictions(
        names=names, groups=names, labels=np.array([still.label for still in stills], np.int64), logits=logits
    )


def predict_videos(
    network: EmotionNet,
    transform: ClipTransform,
    tree: ImageTree,
    videos: Sequence[AnnotatedVideo],
    *,
    loading: Loading,
    on_progress: OnProgress | None = None,
) -> Predictions:
    """Classify all frames that have a face, in order, eight at once; keep those that have a label.

    Raises:
        DatasetError: A crop is missing or no picture.
    """
    places = evaluation_clips(videos)
    dataset = VideoClips(tree, videos, places, transform)
    by_clip = _run(network, dataset, network, loading=loading, on_progress=on_progress)
    # (clips, 8, 7) -> (frames, 7): the padding goes, and the frames stand in the order of the videos' again
    logits = np.concatenate([clip[: place.length] for clip, place in zip(by_clip, places, strict=True)])
    labels = np.concatenate([video.labels for video in videos])
    scored = np.flatnonzero(labels != UNLABELLED)
    names = [name for video in videos for name in video.crops]
    groups = [video.source for video in videos for _ in video.crops]
    return Predictions(
        names=tuple(names[i] for i in scored),
        groups=tuple(groups[i] for i in scored),
        labels=labels[scored],
        logits=logits[scored],
    )


def predict_made_clips(
    network: EmotionNet, clips: Dataset[tuple[Tensor, Tensor]], numbers: Sequence[int], *, loading: Loading
) -> Predictions:
    """Classify clips with targets of their own (model/still_clips.py), eight frames at once; padding is left out."""
    made = [clips[number] for number in numbers]
    targets = np.concatenate([target.numpy() for _, target in made])
    shown = targets.sum(axis=1) > 0
    groups = np.repeat([str(number) for number in numbers], [len(target) for _, target in made])[shown]
    pictures = cast("Dataset[Tensor]", [picture for picture, _ in made])  # a loader takes any sequence
    logits = _run(network, pictures, network, loading=loading, on_progress=None)
    return Predictions(
        names=tuple(groups),
        groups=tuple(groups),
        labels=targets[shown].argmax(axis=1),
        logits=logits.reshape(-1, logits.shape[-1])[shown],
    )


def _run(
    network: EmotionNet,
    dataset: Dataset[Tensor],
    forward: Callable[[Tensor], Tensor],
    *,
    loading: Loading,
    on_progress: OnProgress | None,
) -> NDArray[np.float32]:
    loader = DataLoader(dataset, batch_size=loading.batch_clips, num_workers=loading.workers)
    was_training, is_bf16 = network.training, loading.precision == "bf16"
    network.eval().to(loading.device)
    results = []
    try:
        with torch.inference_mode(), torch.autocast(loading.device.type, torch.bfloat16, enabled=is_bf16):
            for clips in loader:
                results.append(forward(clips.to(loading.device, non_blocking=True)).float().cpu().numpy())
                if on_progress is not None:
                    on_progress(len(clips))
    finally:
        network.train(was_training)
    return np.concatenate(results)
