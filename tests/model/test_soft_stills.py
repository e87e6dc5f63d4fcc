"""Votes and weak labels: shares, splits without shared groups, balance, and clear errors for malformed tables."""

from pathlib import Path

import numpy as np
import pytest

from model.datasets import Layout, Split, read_stills
from model.errors import DatasetError
from model.image_tree import ImageTree
from model.labels import EMOTIONS, Emotion
from model.soft_stills import SoftStill, balancing_weights, read_pseudo_labels, read_votes, read_weak_labels

HEADER = (
    "image,split,duplicate_group,votes_neutral,votes_happiness,votes_surprise,votes_sadness,votes_anger,"
    "votes_disgust,votes_fear,votes_contempt,votes_unknown,votes_NF"
)


def write_table(root: Path, *lines: str) -> Path:
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def share_of(still: SoftStill, emotion: Emotion) -> float:
    return float(still.target[EMOTIONS.index(emotion)])


def test_read_votes_gives_shares_without_lone_votes(tmp_path: Path) -> None:
    write_table(tmp_path, HEADER, "a.webp,train,1,6,3,0,0,1,0,0,0,0,0")

    (still,) = read_votes(tmp_path, split=Split.TRAIN)

    assert still.name == "a.jpg"
    assert share_of(still, Emotion.NEUTRAL) == pytest.approx(6 / 9)
    assert share_of(still, Emotion.HAPPINESS) == pytest.approx(3 / 9)
    assert share_of(still, Emotion.ANGER) == 0


def test_read_votes_leaves_out_what_most_voters_saw_otherwise(tmp_path: Path) -> None:
    lines = [
        "a.webp,train,1,4,0,0,0,0,0,0,5,1,0",
        "b.webp,train,2,4,0,0,0,0,0,0,0,4,2",
        "c.webp,train,3,5,0,0,0,0,0,0,4,1,0",
    ]
    write_table(tmp_path, HEADER, *lines)

    assert [still.name for still in read_votes(tmp_path, split=Split.TRAIN)] == ["c.jpg"]


def test_validation_shares_no_group_with_training(tmp_path: Path) -> None:
    rows = [("a", "train", 1), ("b", "valid", 1), ("c", "valid", 2)]
    write_table(tmp_path, HEADER, *(f"{name}.webp,{split},{group},10,0,0,0,0,0,0,0,0,0" for name, split, group in rows))

    assert [still.name for still in read_votes(tmp_path, split=Split.VALIDATION)] == ["c.jpg"]
    assert [still.name for still in read_stills(tmp_path, Layout.VOTES, split=Split.VALIDATION)] == ["c.jpg"]


def test_weak_labels_keep_doubt_and_skip_contempt(tmp_path: Path) -> None:
    write_table(tmp_path, "image,weak_label,identity", "a.jpg,happiness,x", "b.jpg,contempt,y")

    (still,) = read_weak_labels(tmp_path, confidence=0.7)

    assert share_of(still, Emotion.HAPPINESS) == pytest.approx(0.7)
    assert share_of(still, Emotion.FEAR) == pytest.approx(0.05)
    assert still.target.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEADER, "a.webp,test,1,9,0,0,0,0,0,0,0,0,0"), "line 2: expected split train or valid, got test"),
        ((HEADER, "a.webp,train,1,nine,0,0,0,0,0,0,0,0,0"), "line 2: expected whole numbers of votes"),
        (("image,split", "a.webp,train"), "line 1: expected columns duplicate_group, votes_neutral"),
    ],
)
def test_malformed_votes_are_named_with_their_line(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    write_table(tmp_path, *lines)

    with pytest.raises(DatasetError, match=message):
        read_votes(tmp_path, split=Split.TRAIN)


def test_a_weak_label_that_is_no_class_is_named_with_its_line(tmp_path: Path) -> None:
    write_table(tmp_path, "image,weak_label", "a.jpg,happiness", "b.jpg,bored")

    with pytest.raises(DatasetError, match="line 3: expected one of .* got bored"):
        read_weak_labels(tmp_path, confidence=0.7)


def test_balancing_draws_rare_classes_more_often(tmp_path: Path) -> None:
    tree = ImageTree(tmp_path)
    common, rare = np.eye(7, dtype=np.float32)[[0, 2]]
    stills = [SoftStill(tree, "c", common)] * 9 + [SoftStill(tree, "r", rare)]

    assert balancing_weights(stills, power=0.0)[-1] == pytest.approx(0.1)
    assert balancing_weights(stills, power=0.5)[-1] == pytest.approx(3 / (9 + 3))
    assert balancing_weights(stills, power=1.0)[-1] == pytest.approx(0.5)


PSEUDO_HEADER = f"image,{','.join(f'share_{emotion}' for emotion in EMOTIONS)}"


def test_pseudo_labels_are_the_shares_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "pseudo_labels.csv").write_text(f"{PSEUDO_HEADER}\na/b.jpg,0.5,0,0,0,0.5,0,0\n")

    (still,) = read_pseudo_labels(tmp_path)

    assert still.name == "a/b.jpg"
    assert share_of(still, Emotion.HAPPINESS) == pytest.approx(0.5)


@pytest.mark.parametrize("line", ["a.jpg,1,1,0,0,0,0,0", "a.jpg,x,0,0,0,0,0,0", "a.jpg,1", "a.jpg,2,-1,0,0,0,0,0"])
def test_pseudo_labels_that_are_no_shares_are_named_by_their_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "pseudo_labels.csv").write_text(f"{PSEUDO_HEADER}\n{line}\n")

    with pytest.raises(DatasetError, match=r"pseudo_labels\.csv, line 2: expected seven shares that sum to 1"):
        read_pseudo_labels(tmp_path)
