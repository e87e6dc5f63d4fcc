"""Aligned stills whose targets are shares of the seven classes: FERPlus votes and weak labels.

They lie as `worker.extract --stills` leaves them, `labels.csv` beside the crops. FERPlus: Barsoum et al., ICMI 2016
(arXiv 1608.01041), whose section 4 shows that training on the distribution of votes beats training on the majority.
Near-duplicates share a `duplicate_group`; a group that occurs in training is left out of validation.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.datasets import CLASS_FOLDERS, Split
from model.errors import DatasetError
from model.image_tree import ImageTree
from model.labels import EMOTIONS

LABELS_FILE = "labels.csv"
VOTES_OUTSIDE = ("contempt", "unknown", "NF")
"""Columns that are not one of the seven; a still whose most votes fall there is left out."""
LONE_VOTES_DROPPED = 1
"""A class with so few of the ten votes is noise (the authors' own preparation drops single votes)."""

SoftLayout = Literal["votes", "weak"]


@dataclass(frozen=True, slots=True)
class SoftStill:
    """One aligned still."""

    tree: ImageTree
    name: str
    target: NDArray[np.float32]
    """(7,) shares that sum to 1."""


def read_votes(root: Path, *, split: Split) -> list[SoftStill]:
    """Read FERPlus: `labels.csv` beside the crops. Validation holds no group that training holds.

    Raises:
        DatasetError: A file is missing or a line is malformed.
    """
    tree = ImageTree(root)
    rows = _read_rows(tree, required=("image", "split", "duplicate_group", *(f"votes_{e}" for e in EMOTIONS)))
    names = {"train": Split.TRAIN, "valid": Split.VALIDATION}
    for number, row in rows:
        if row["split"] not in names:
            raise DatasetError.at(root / LABELS_FILE, line=number, expected="split train or valid", actual=row["split"])
    train_groups = {row["duplicate_group"] for _, row in rows if row["split"] == "train"}
    stills = []
    for number, row in rows:
        if names[row["split"]] is not split or (split is Split.VALIDATION and row["duplicate_group"] in train_groups):
            continue
        target = _shares(root, number, row)
        if target is not None:
            stills.append(SoftStill(tree, _crop_name(row["image"]), target))
    return stills


def read_weak_labels(root: Path, *, confidence: float) -> list[SoftStill]:
    """Read stills with one unsure label each (columns `image`, `weak_label`).

    The label gets `confidence`, the rest is spread evenly over the other six.

    Raises:
        DatasetError: A file is missing or a line is malformed.
    """
    tree = ImageTree(root)
    stills = []
    for number, row in _read_rows(tree, required=("image", "weak_label")):
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
        stills.append(SoftStill(tree, _crop_name(row["image"]), target))
    return stills


def balancing_weights(stills: Sequence[SoftStill], *, power: float) -> NDArray[np.float64]:
    """Shares (N,) of draws: a still counts as its classes' frequencies to the power of -`power`; 0 draws evenly."""
    targets = np.stack([still.target for still in stills]).astype(np.float64)
    weights = targets @ (targets.sum(axis=0) / len(stills)) ** -power
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def _read_rows(tree: ImageTree, *, required: Sequence[str]) -> list[tuple[int, Mapping[str, str]]]:
    """Rows with their line numbers."""
    reader = csv.DictReader(io.StringIO("\n".join(tree.read_lines(LABELS_FILE))))
    missing = [column for column in required if column not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError.at(
            tree.root / LABELS_FILE, line=1, expected=f"columns {', '.join(missing)}", actual=str(reader.fieldnames)
        )
    return [(number, row) for number, row in enumerate(reader, start=2)]


def _shares(root: Path, number: int, row: Mapping[str, str]) -> NDArray[np.float32] | None:
    """Shares of the seven among the votes, or None where most voters saw something else."""
    try:
        votes = np.array([int(row[f"votes_{emotion}"]) for emotion in EMOTIONS], np.float32)
        outside = max(int(row.get(f"votes_{name}") or 0) for name in VOTES_OUTSIDE)
    except ValueError as error:
        raise DatasetError.at(
            root / LABELS_FILE, line=number, expected="whole numbers of votes", actual=str(row)
        ) from error
    if votes.max() <= outside:
        return None
    kept = np.where(votes > LONE_VOTES_DROPPED, votes, 0)
    votes = kept if kept.any() else votes
    shares: NDArray[np.float32] = votes / votes.sum()
    return shares


def _crop_name(image: str) -> str:
    return Path(image).with_suffix(".jpg").as_posix()
