"""Label tables beside aligned stills (`labels.csv`), and the FERPlus votes in one of them.

FERPlus: Barsoum et al., ICMI 2016 (arXiv 1608.01041). Near-duplicates share a `duplicate_group`; a group that occurs in
training is left out of validation.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.errors import DatasetError
from model.image_tree import ImageTree
from model.labels import EMOTIONS

LABELS_FILE = "labels.csv"
VOTES_OUTSIDE = ("contempt", "unknown", "NF")
"""Columns that are not one of the seven; a still whose most votes fall there is left out."""
LONE_VOTES_DROPPED = 1
"""A class with so few of the ten votes is noise (the authors' own preparation drops single votes)."""
SPLITS: Mapping[str, str] = {"train": "train", "valid": "validation"}


def iter_votes(tree: ImageTree, *, split: Literal["train", "validation"]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the crops of a split with the voters' shares (7,) of the classes.

    Raises:
        DatasetError: A file is missing or a line is malformed.
    """
    rows = read_rows(tree, required=("image", "split", "duplicate_group", *(f"votes_{e}" for e in EMOTIONS)))
    path = tree.root / LABELS_FILE
    for number, row in rows:
        if row["split"] not in SPLITS:
            raise DatasetError.at(path, line=number, expected=f"split {' or '.join(SPLITS)}", actual=row["split"])
    train_groups = {row["duplicate_group"] for _, row in rows if SPLITS[row["split"]] == "train"}
    for number, row in rows:
        if SPLITS[row["split"]] != split or (split == "validation" and row["duplicate_group"] in train_groups):
            continue
        shares = _shares(path, number, row)
        if shares is not None:
            yield crop_name(row["image"]), shares


def read_rows(
    tree: ImageTree, *, required: Sequence[str], table: str = LABELS_FILE
) -> list[tuple[int, Mapping[str, str]]]:
    """Return the rows of a table with their line numbers.

    Raises:
        DatasetError: The file or a column is missing.
    """
    reader = csv.DictReader(io.StringIO("\n".join(tree.read_lines(table))))
    missing = [column for column in required if column not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError.at(
            tree.root / table, line=1, expected=f"columns {', '.join(missing)}", actual=str(reader.fieldnames)
        )
    return [(number, row) for number, row in enumerate(reader, start=2)]


def _shares(path: Path, number: int, row: Mapping[str, str]) -> NDArray[np.float32] | None:
    """Shares of the seven among the votes, or None where most voters saw something else."""
    try:
        votes = np.array([int(row[f"votes_{emotion}"]) for emotion in EMOTIONS], np.float32)
        outside = max(int(row.get(f"votes_{name}") or 0) for name in VOTES_OUTSIDE)
    except ValueError as error:
        raise DatasetError.at(path, line=number, expected="whole numbers of votes", actual=str(row)) from error
    if votes.max() <= outside:
        return None
    kept = np.where(votes > LONE_VOTES_DROPPED, votes, 0)
    votes = kept if kept.any() else votes
    shares: NDArray[np.float32] = votes / votes.sum()
    return shares


def crop_name(image: str) -> str:
    """Return the name of the crop that `worker.extract --stills` makes of an image."""
    return Path(image).with_suffix(".jpg").as_posix()
