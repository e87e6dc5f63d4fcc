"""Training clips by number: clip n of a run is a function of the seed and n alone.

So a resumed run continues with the very clips it would have seen, loader processes may look ahead as far as they like,
and several GPUs share one sequence.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from model.affwild2 import AnnotatedVideo, ClipSampler
from model.datasets import Still
from model.image_tree import ImageTree
from model.inference import load_clip
from model.transforms import ClipTransform

TrainingClip = tuple[Tensor, Tensor]
"""(T, C, S, S) float32 normalised crops; (T,) int64 labels, or (T, 7) float32 shares of the classes."""


class AffWild2Clips(Dataset[TrainingClip]):
    """The paper's draw: a video with equal probability, then a random run of eight labelled frames with a face."""

    def __init__(
        self, tree: ImageTree, videos: Sequence[AnnotatedVideo], transform: ClipTransform, *, seed: int, mirror: bool
    ) -> None:
        self._tree = tree
        self._videos = videos
        self._transform = transform
        self._mirror = mirror
        self._sampler = ClipSampler(videos, seed=seed)

    def __getitem__(self, number: int) -> TrainingClip:
        place, rng = self._sampler.draw(number)
        video = self._videos[place.video]
        crops = load_clip(self._tree, video, place)
        labels = video.labels[place.start : place.start + place.length]
        return transformed(self._transform, crops, rng, mirror=self._mirror), torch.from_numpy(labels)


class StillFrames(Dataset[TrainingClip]):
    """Stills as clips of one frame, in a new random order each time all have been seen."""

    def __init__(self, stills: Sequence[Still], transform: ClipTransform, *, seed: int, mirror: bool) -> None:
        self._stills = stills
        self._transform = transform
        self._seed = seed
        self._mirror = mirror
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def __getitem__(self, number: int) -> TrainingClip:
        epoch, position = divmod(number, len(self._stills))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, epoch)).permutation(len(self._stills))
            self._epoch = epoch
        still = self._stills[int(self._order[position])]
        rng = np.random.default_rng((self._seed, epoch, position))
        clip = transformed(self._transform, still.image()[None], rng, mirror=self._mirror)
        return clip, torch.tensor([still.label])


def transformed(
    transform: ClipTransform, crops: NDArray[np.uint8], rng: np.random.Generator, *, mirror: bool
) -> Tensor:
    """Crops (T, H, W, 3) uint8 -> (T, C, S, S) float32 as when serving, half of them mirrored if `mirror`."""
    if mirror and rng.random() < 0.5:
        crops = crops[:, :, ::-1]
    clip = transform(torch.from_numpy(np.ascontiguousarray(crops))[None])[0]
    # one memory layout, whichever process made it: convolutions round differently in another
    return clip.contiguous()
