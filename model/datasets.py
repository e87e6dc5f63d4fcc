"""Labelled stills: AffectNet, RAF-DB and any folder or zip file with a folder per class. Videos are in affwild2.py.

Every layout ends as the same list of `Still`; its label tables stand below with their sources.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from model.errors import DatasetError
from model.image_tree import ImageTree, is_image
from model.labels import EMOTIONS, Emotion
from model.votes import iter_votes

# AffectNet (Mollahosseini et al., arXiv 1708.03985, section 3 and the release's readme); None is not one of the seven
AFFECTNET_LABELS: Mapping[int, Emotion | None] = {
    0: Emotion.NEUTRAL,
    1: Emotion.HAPPINESS,
    2: Emotion.SADNESS,
    3: Emotion.SURPRISE,
    4: Emotion.FEAR,
    5: Emotion.DISGUST,
    6: Emotion.ANGER,
    7: None,  # contempt
    8: None,  # none
    9: None,  # uncertain
    10: None,  # no face
}
# RAF-DB (Li, Deng & Du, CVPR 2017), readme of basic/EmoLabel: counted from 1, and in an order of its own
RAF_DB_LABELS: Mapping[int, Emotion | None] = {
    1: Emotion.SURPRISE,
    2: Emotion.FEAR,
    3: Emotion.DISGUST,
    4: Emotion.HAPPINESS,
    5: Emotion.SADNESS,
    6: Emotion.ANGER,
    7: Emotion.NEUTRAL,
}
# names that folders have in FER2013, CK+, FERPlus, RAF-DB and AffectNet mirrors; compared in lower case
CLASS_FOLDERS: Mapping[str, Emotion | None] = {
    **{emotion.value: emotion for emotion in EMOTIONS},
    "angry": Emotion.ANGER,
    "disgusted": Emotion.DISGUST,
    "fearful": Emotion.FEAR,
    "happy": Emotion.HAPPINESS,
    "sad": Emotion.SADNESS,
    "surprised": Emotion.SURPRISE,
    "contempt": None,
    "other": None,
}
RAF_DB_LIST = "EmoLabel/list_patition_label.txt"
"""The release's own spelling."""
AFFECTNET_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
AFFECTNET_IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "images", "")
AFFECTNET_SPLITS = {"train": ("training.csv", "train_set"), "validation": ("validation.csv", "val_set")}
RAF_DB_SPLITS = {"train": "train", "validation": "test"}
MIN_BOX_PIXELS = 16


class Split(StrEnum):
    """Which part of a set; sets without a part for validation give their test part."""

    TRAIN = "train"
    VALIDATION = "validation"


class Layout(StrEnum):
    """How a set of labelled stills lies on disk."""

    AFFECTNET = "affectnet"
    RAF_DB = "raf-db"
    CLASS_FOLDERS = "class-folders"
    VOTES = "votes"
    """FERPlus, its label the class with the most votes."""


@dataclass(frozen=True, slots=True)
class Still:
    """One labelled picture."""

    tree: ImageTree
    name: str
    label: int
    """Index into EMOTIONS."""
    box: tuple[int, int, int, int] | None = None
    """The face, xyxy pixels; None where the picture is the face."""

    def image(self) -> NDArray[np.uint8]:
        """Return the face as (H, W, 3) uint8 RGB; the whole picture where the box lies outside or is tiny.

        Raises:
            DatasetError: The file is missing or no picture.
        """
        image = self.tree.image(self.name)
        if self.box is None:
            return image
        left, top, right, bottom = (max(0, edge) for edge in self.box)
        face = image[top:bottom, left:right]
        return face if min(face.shape[:2]) >= MIN_BOX_PIXELS else image


def read_stills(root: Path, layout: Layout, *, split: Split) -> list[Still]:
    """Read one split of a labelled set; a folder per class has no splits, so all of it is returned for either.

    Raises:
        DatasetError: Something is missing, or a line is not what the layout promises.
    """
    tree = ImageTree(root)
    match layout:
        case Layout.AFFECTNET:
            stills = list(_affectnet(tree, split))
        case Layout.RAF_DB:
            stills = list(_raf_db(tree, split))
        case Layout.CLASS_FOLDERS:
            stills = list(_class_folders(tree))
        case Layout.VOTES:
            stills = [Still(tree, name, int(s.argmax())) for name, s in iter_votes(tree, split=split.value)]
    if not stills:
        raise DatasetError.at(root, expected=f"labelled pictures of the {split} split ({layout})", actual="none")
    return stills


def _class_folders(tree: ImageTree) -> Iterator[Still]:
    for name in tree.names():
        if not is_image(name):
            continue
        known = [folder for folder in reversed(PurePosixPath(name).parts[:-1]) if folder.lower() in CLASS_FOLDERS]
        if not known:
            raise DatasetError.at(
                tree.root / name,
                expected=f"a folder named after its class ({', '.join(CLASS_FOLDERS)})",
                actual=f"{PurePosixPath(name).parent.as_posix()!r}",
            )
        emotion = CLASS_FOLDERS[known[0].lower()]
        if emotion is not None:
            yield Still(tree, name, EMOTIONS.index(emotion))


def _raf_db(tree: ImageTree, split: Split) -> Iterator[Still]:
    base = "basic/" if tree.exists(f"basic/{RAF_DB_LIST}") else ""
    listing = f"{base}{RAF_DB_LIST}"
    path = tree.root / listing
    for number, line in enumerate(tree.read_lines(listing), start=1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 2:
            raise DatasetError.at(path, line=number, expected="'<picture> <label>'", actual=repr(line))
        name, code = parts
        stem, _, suffix = name.partition(".")
        emotion = _emotion(RAF_DB_LABELS, code, path=path, line=number)
        if emotion is None or not stem.startswith(f"{RAF_DB_SPLITS[split]}_"):
            continue
        image = f"{base}Image/aligned/{stem}_aligned.{suffix or 'jpg'}"
        if not tree.exists(image):
            raise DatasetError.at(path, line=number, expected=f"the picture {image}", actual="no such file")
        yield Still(tree, image, EMOTIONS.index(emotion))


def _affectnet(tree: ImageTree, split: Split) -> Iterator[Still]:
    table, folder = AFFECTNET_SPLITS[split]
    if tree.exists(table):
        return _affectnet_csv(tree, table)
    return _affectnet_folder(tree, folder)


def _affectnet_csv(tree: ImageTree, table: str) -> Iterator[Still]:
    """Read the release of 2017: one table, whole photos, the face's box in it."""
    path = tree.root / table
    columns = {name: i for i, name in enumerate(AFFECTNET_COLUMNS)}
    folder: str | None = None
    for number, row in enumerate(csv.reader(io.StringIO("\n".join(tree.read_lines(table)))), start=1):
        if number == 1 and row == list(AFFECTNET_COLUMNS):
            continue  # the training table has a header, some copies of the validation table have none
        if len(row) != len(columns):
            expected = f"{len(columns)} columns ({', '.join(AFFECTNET_COLUMNS)})"
            raise DatasetError.at(path, line=number, expected=expected, actual=f"{len(row)}: {','.join(row)!r}")
        emotion = _emotion(AFFECTNET_LABELS, row[columns["expression"]], path=path, line=number)
        if emotion is None:
            continue
        try:
            x, y, width, height = (int(float(row[columns[f"face_{side}"]])) for side in ("x", "y", "width", "height"))
        except ValueError as error:
            expected = "numbers in face_x, face_y, face_width, face_height"
            raise DatasetError.at(path, line=number, expected=expected, actual=repr(row[1:5])) from error
        image = row[0]
        if folder is None:
            folder = next((f for f in AFFECTNET_IMAGE_FOLDERS if tree.exists(str(PurePosixPath(f, image)))), None)
        if folder is None:
            places = ", ".join(repr(f) for f in AFFECTNET_IMAGE_FOLDERS)
            raise DatasetError.at(path, line=number, expected=f"the picture {image} in one of {places}", actual="none")
        yield Still(tree, str(PurePosixPath(folder, image)), EMOTIONS.index(emotion), box=(x, y, x + width, y + height))


def _affectnet_folder(tree: ImageTree, folder: str) -> Iterator[Still]:
    """Read the release of 2021: <split>/images/<n>.jpg, aligned, and <split>/annotations/<n>_exp.npy."""
    for name in tree.names(under=f"{folder}/images"):
        if not is_image(name):
            continue
        label = f"{folder}/annotations/{PurePosixPath(name).stem}_exp.npy"
        try:
            code = str(np.load(io.BytesIO(tree.read(label)), allow_pickle=False).item())
        except (ValueError, EOFError) as error:
            raise DatasetError.at(tree.root / label, expected="one label as .npy", actual=str(error)) from error
        emotion = _emotion(AFFECTNET_LABELS, code, path=tree.root / label)
        if emotion is not None:
            yield Still(tree, name, EMOTIONS.index(emotion))


def _emotion(table: Mapping[int, Emotion | None], code: str, *, path: Path, line: int | None = None) -> Emotion | None:
    try:
        return table[int(code)]
    except (ValueError, KeyError) as error:
        expected = f"a label in {min(table)}..{max(table)}"
        raise DatasetError.at(path, line=line, expected=expected, actual=repr(code)) from error
