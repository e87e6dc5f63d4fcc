"""Aff-Wild2 (Kollias & Zafeiriou, arXiv 1811.07770; ABAW 2020's release): videos of aligned crops with a label a frame.

    cropped_aligned/<video>/00001.jpg                             frame 1; frames without a face have no file
    annotations/EXPR_Set/{Train,Validation}_Set/<video>.txt       a header line, then one label a frame

A second person of a video has a video of its own, named `<video>_left` or `<video>_right`. Later releases (from ABAW
2022 on) append an eighth class, Other, to the header: its frames count as unlabelled here.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from model.datasets import Split
from model.errors import DatasetError
from model.image_tree import ImageTree
from model.labels import CLIP_FRAMES, EMOTIONS

CROPS = "cropped_aligned"
UNLABELLED = -1
HEADER = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
"""The header line of every annotation file: the class names in the order of the label numbers, and of our logits."""
HEADER_WITH_OTHER = (*HEADER, "Other")
FRAME_NAME = re.compile(r"(\d+)\.(?:jpg|jpeg|png)", re.IGNORECASE)
SIDE_SUFFIX = re.compile(r"_(?:left|right)$")
SPLIT_FOLDERS = {Split.TRAIN: "Train_Set", Split.VALIDATION: "Validation_Set"}


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One person in one video: the frames with a face, and what is known of each."""

    name: str
    frames: NDArray[np.int64]
    """(N,) numbers of the frames that have a crop, ascending, counted from 1 as the files are."""
    crops: tuple[str, ...]
    """(N,) names of the crops in the tree."""
    labels: NDArray[np.int64]
    """(N,) label of each of these frames, or -1."""

    @property
    def source(self) -> str:
        """The recording it comes from: two people of one recording are not independent."""
        return SIDE_SUFFIX.sub("", self.name)

    def run_starts(self, *, length: int = CLIP_FRAMES) -> NDArray[np.int64]:
        """Return the indices at which `length` consecutive frames begin that all have a face and a label."""
        if len(self.frames) < length:
            return np.empty(0, np.int64)
        windows = np.lib.stride_tricks.sliding_window_view
        consecutive = self.frames[length - 1 :] - self.frames[: len(self.frames) - length + 1] == length - 1
        labelled = (windows(self.labels, length) != UNLABELLED).all(axis=1)
        return np.flatnonzero(consecutive & labelled)


def read_affwild2(root: Path, split: Split) -> tuple[ImageTree, list[AnnotatedVideo]]:
    """Read the annotations of one split and find the crops they speak of.

    Returns:
        The tree that the crops' names refer to, and the videos in order of name.

    Raises:
        DatasetError: A folder or file is missing, or a line is not what the layout promises.
    """
    tree = ImageTree(root)
    folder = f"annotations/EXPR_Set/{SPLIT_FOLDERS[split]}"
    annotations = [name for name in tree.names(under=folder) if name.endswith(".txt")]
    if not annotations:
        raise DatasetError.at(root / folder, expected="annotation files <video>.txt", actual="none")
    crops: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in tree.names(under=CROPS):
        path = PurePosixPath(name)
        if match := FRAME_NAME.fullmatch(path.name):
            crops[path.parent.name].append((int(match[1]), name))
    return tree, [_read_video(tree, name, crops[PurePosixPath(name).stem]) for name in annotations]


def read_labels(tree: ImageTree, name: str) -> NDArray[np.int64]:
    """Return the labels of one annotation file, one a frame from frame 1 on, -1 for none.

    Raises:
        DatasetError: The header or a line is wrong.
    """
    lines = tree.read_lines(name)
    path = tree.root / name
    header = tuple(part.strip() for part in lines[0].split(",")) if lines else ()
    if header not in (HEADER, HEADER_WITH_OTHER):
        actual = repr(lines[0]) if lines else "an empty file"
        raise DatasetError.at(path, line=1, expected=f"the header {','.join(HEADER)!r}", actual=actual)
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()  # a blank end of file is no frame
    labels = np.array([_read_label(path, i, line, len(header)) for i, line in enumerate(lines[1:], start=2)], np.int64)
    labels[labels >= len(EMOTIONS)] = UNLABELLED  # Other
    return labels


def _read_label(path: Path, number: int, line: str, classes: int) -> int:
    try:
        label = int(line)
    except ValueError:
        label = classes
    if not UNLABELLED <= label < classes:
        expected = f"a label in 0..{classes - 1}, or -1 for none"
        raise DatasetError.at(path, line=number, expected=expected, actual=repr(line))
    return label


def _read_video(tree: ImageTree, annotation: str, found: list[tuple[int, str]]) -> AnnotatedVideo:
    labels = read_labels(tree, annotation)
    video = PurePosixPath(annotation).stem
    if not found:
        expected = f"crops 00001.jpg, ... for {tree.root / annotation}"
        raise DatasetError.at(tree.root / CROPS / video, expected=expected, actual="none")
    found.sort()
    frames = np.array([number for number, _ in found], np.int64)
    if frames[0] < 1:
        raise DatasetError.at(tree.root / found[0][1], expected="frames numbered from 1", actual="frame 0")
    # the release holds videos with a few more frames than labels: the surplus is unlabelled
    known = np.full(max(int(frames[-1]), len(labels)) + 1, UNLABELLED, np.int64)
    known[1 : len(labels) + 1] = labels
    return AnnotatedVideo(name=video, frames=frames, crops=tuple(name for _, name in found), labels=known[frames])


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """Where a clip lies: `length` frames of a video from index `start` of its crops."""

    video: int
    start: int
    length: int


class ClipSampler:
    """The paper's draw: a video with equal probability, then a random run of consecutive frames in it.

    The n-th clip is a function of (seed, n) alone. So the place in the sequence is the whole state, the loader's worker
    processes may look ahead as far as they like, and several GPUs share one sequence by taking every k-th clip.

    Raises:
        DatasetError: No video has a run that is long enough.
    """

    def __init__(self, videos: Sequence[AnnotatedVideo], *, seed: int, length: int = CLIP_FRAMES) -> None:
        """Find the runs of all videos; those without one are never drawn."""
        self.length = length
        self._seed = seed
        starts = [video.run_starts(length=length) for video in videos]
        self._starts = {i: runs for i, runs in enumerate(starts) if len(runs)}
        self._videos = np.array(sorted(self._starts), np.int64)
        if not self._starts:
            raise DatasetError(
                f"expected a video with {length} consecutive frames that all have a face and a label, got "
                f"{len(videos)} videos without one"
            )

    @property
    def drawable_videos(self) -> int:
        """How many videos have a run at all."""
        return len(self._videos)

    def draw(self, number: int) -> tuple[ClipPlace, np.random.Generator]:
        """Return the n-th clip of the sequence, and the generator to go on with for its augmentation."""
        rng = np.random.default_rng((self._seed, number))
        video = int(rng.choice(self._videos))
        start = int(rng.choice(self._starts[video]))
        return ClipPlace(video=video, start=start, length=self.length), rng


def evaluation_clips(videos: Sequence[AnnotatedVideo], *, length: int = CLIP_FRAMES) -> list[ClipPlace]:
    """Cut all frames that have a face, in order, into clips; a video's last may be shorter and is padded with zeros.

    Unlabelled frames stay in, since at test time the network is not told which frames will be scored.
    """
    return [
        ClipPlace(video=i, start=start, length=min(length, len(video.frames) - start))
        for i, video in enumerate(videos)
        for start in range(0, len(video.frames), length)
    ]
