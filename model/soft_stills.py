"""Aligned stills whose targets are shares of the seven classes: FERPlus votes, weak labels, and labels of a teacher.

They lie as `worker.extract --stills` leaves them, `labels.csv` beside the crops. FERPlus: Barsoum et al., ICMI 2016
(arXiv 1608.01041), whose section 4 shows that training on the distribution of votes beats training on the majority.
Near-duplicates share a `duplicate_group`; a group that occurs in training is left out of validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.datasets import CLASS_FOLDERS, Split
from model.errors import DatasetError
from model.image_tree import ImageTree
from model.labels import EMOTIONS
from model.votes import LABELS_FILE, crop_name, iter_votes, read_rows

SoftLayout = Literal["votes", "weak", "pseudo"]

PSEUDO_LABELS_FILE = "pseudo_labels.csv"
"""What `model.pseudo_labels` writes beside the crops."""
ROUNDING = 1e-3
"""How far shares of a table may sum to something else than 1."""


@dataclass(frozen=True, slots=True)
class SoftStill:
    """One aligned still."""

    tree: ImageTree
    name: str
    target: NDArray[np.float32]
    """(7,) shares that sum to 1."""
    soften: bool = True
    """Whether views of it may be blurred and reduced."""


def read_votes(root: Path, *, split: Split) -> list[SoftStill]:
    """Read FERPlus, see model/votes.py.

    Raises:
        DatasetError: A file is missing or a line is malformed.
    """
    tree = ImageTree(root)
    return [SoftStill(tree, name, shares) for name, shares in iter_votes(tree, split=split.value)]


def read_weak_labels(root: Path, *, confidence: float) -> list[SoftStill]:
    """Read stills with one unsure label each (columns `image`, `weak_label`).

    The label gets `confidence`, the rest is spread evenly over the other six.

    Raises:
        DatasetError: A file is missing or a line is malformed.
    """
    tree = ImageTree(root)
    stills = []
    for number, row in read_rows(tree, required=("image", "weak_label")):
        if row["weak_label"] not in CLASS_FOLDERS:
            raise DatasetError.at(
                root / LABELS_FILE, line=number, expected=f"one of {', '.join(CLASS_FOLDERS)}", actual=row["weak_label"]
            )
        emotion = CLASS_FOLDERS[row["weak_label"]]
        if emotion is None:
            continue
        label = EMOTIONS.index(emotion)
        target = np.full(len(EMOTIONS), (1 - confidence) / (len(EMOTIONS) - 1), np.float32)
        target[label] = confidence
        stills.append(SoftStill(tree, crop_name(row["image"]), target))
    return stills


def read_pseudo_labels(root: Path) -> list[SoftStill]:
    """Read stills with the shares that a teacher gave them (columns `image`, `share_<emotion>`).

    Raises:
        DatasetError: A file is missing or a line is malformed.
    """
    tree = ImageTree(root)
    columns = [f"share_{emotion}" for emotion in EMOTIONS]
    stills = []
    for number, row in read_rows(tree, required=("image", *columns), table=PSEUDO_LABELS_FILE):
        try:
            shares = np.array([float(row[column]) for column in columns], np.float32)
        except (TypeError, ValueError):
            shares = np.zeros(len(EMOTIONS), np.float32)
        if shares.min() < 0 or not abs(float(shares.sum()) - 1) < ROUNDING:
            raise DatasetError.at(
                root / PSEUDO_LABELS_FILE, line=number, expected="seven shares that sum to 1", actual=str(dict(row))
            )
        stills.append(SoftStill(tree, row["image"], shares / shares.sum()))
    return stills


def balancing_weights(stills: Sequence[SoftStill], *, power: float) -> NDArray[np.float64]:
    """Shares (N,) of draws: a still counts as its classes' frequencies to the power of -`power`; 0 draws evenly."""
    targets = np.stack([still.target for still in stills]).astype(np.float64)
    frequencies = targets.mean(axis=0)
    # a class that nobody shows has no stills to draw
    rarity = np.where(frequencies > 0, np.maximum(frequencies, 1e-12) ** -power, 0.0)
    weights = targets @ rarity
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised
