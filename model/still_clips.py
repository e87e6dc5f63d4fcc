"""Training clips made of stills, since no labelled video is at hand: views that change slowly, and transitions.

A clip of one frame is a single view. A longer clip shows one still, or turns from one to another of the same or of
another class within a few frames, its targets along with it; some clips miss frames at the end, which are zeros
without a target, as the paper pads.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from model.augmentation import MASTER_SIDE, degrade, draw_path, render
from model.errors import DatasetError
from model.labels import EMOTIONS
from model.soft_stills import SoftStill
from model.transforms import ClipTransform

TRANSITION_SHARE = 0.6
"""Of clips that turn from one still to another; half of these stay in the class."""
SAME_CLASS_SHARE = 0.4
SHORT_SHARE = 0.15
"""Of clips that miss frames at the end."""
MAX_BLEND_FRAMES = 3


class StillClipViews(Dataset[tuple[Tensor, Tensor]]):
    """Clip n is a function of the seed and n alone; the stills are held in memory as small gray pictures."""

    def __init__(
        self,
        stills: Sequence[SoftStill],
        weights: NDArray[np.float64],
        transform: ClipTransform,
        *,
        frames: int,
        seed: int,
    ) -> None:
        self._masters = np.stack([load_master(still) for still in stills])
        self._targets = np.stack([still.target for still in stills])
        self._soften = [still.soften for still in stills]
        self._transform = transform
        self._frames = frames
        self._seed = seed
        self._cumulative = np.cumsum(weights)
        classes = self._targets.argmax(axis=1)
        self._members = [np.flatnonzero(classes == label) for label in range(len(EMOTIONS))]

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Clip (T, 3, S, S) float32 and targets (T, 7) float32, zeros for padding."""
        rng = np.random.default_rng((self._seed, number))
        first = self._draw(rng)
        frames, targets = self._single(first, rng)
        if self._frames > 1:
            if rng.random() < TRANSITION_SHARE:
                frames, targets = self._transition(first, frames, targets, rng)
            if rng.random() < SHORT_SHARE:
                valid = int(rng.integers(1, self._frames))
                frames[valid:], targets[valid:] = 0, 0
        colour = np.repeat(frames[..., None], 3, axis=-1)
        return self._transform(torch.from_numpy(colour)[None])[0], torch.from_numpy(targets)

    def _draw(self, rng: np.random.Generator) -> int:
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self._masters) - 1)

    def _single(self, index: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        size = self._transform.config.size
        path = draw_path(rng, self._frames, size=size)
        frames = np.stack([render(self._masters[index], view, size=size) for view in path])
        return degrade(frames, rng, soften=self._soften[index]), np.repeat(
            self._targets[index][None], self._frames, axis=0
        )

    def _transition(
        self, first: int, frames: NDArray[np.uint8], targets: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Turn to a second still around a random frame, by cross-fading over up to three frames."""
        label = int(self._targets[first].argmax())
        same = rng.random() < SAME_CLASS_SHARE and len(self._members[label]) > 1
        second = int(rng.choice(self._members[label])) if same else self._draw(rng)
        other_frames, other_targets = self._single(second, rng)
        start, length = rng.uniform(0.5, self._frames - 0.5), rng.uniform(0.5, MAX_BLEND_FRAMES)
        share = np.clip((np.arange(self._frames) - start) / length + 0.5, 0, 1)  # of the second still, per frame
        mixed = frames * (1 - share)[:, None, None] + other_frames * share[:, None, None]
        blended = targets * (1 - share)[:, None] + other_targets * share[:, None]
        return mixed.round().astype(np.uint8), blended.astype(np.float32)


def load_master(still: SoftStill) -> NDArray[np.uint8]:
    """Read an aligned still as gray (96, 96) uint8.

    Raises:
        DatasetError: The file is missing or no picture.
    """
    data = np.frombuffer(still.tree.read(still.name), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DatasetError.at(still.tree.root / still.name, expected="a picture", actual="bytes that do not decode")
    return np.asarray(cv2.resize(image, (MASTER_SIDE, MASTER_SIDE), interpolation=cv2.INTER_AREA), np.uint8)
