"""The timeline figure: its colours stand where the probabilities say, and every video gives one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from app.palette import EMOTION_COLORS
from app.plot import plot_timeline
from model.labels import Emotion
from tests.app.rows import create_face, create_rows
from worker.contract import FaceRow


def count_pixels(path: Path, emotion: Emotion) -> int:
    """Pixels of an expression's colour below the legend."""
    image: NDArray[np.uint8] = np.asarray(cv2.imread(str(path)), dtype=np.uint8)[100:, :, ::-1]
    return int(np.all(np.abs(image - 255 * np.array(to_rgb(EMOTION_COLORS[emotion]))) < 2, axis=2).sum())


def test_area_of_an_expression_follows_its_probability(tmp_path: Path) -> None:
    rows = create_rows([[create_face(1, Emotion.HAPPINESS, probability=0.7)]] * 50)
    plot_timeline(tmp_path / "plot.png", rows, title="one.mp4")
    happiness, sadness = (count_pixels(tmp_path / "plot.png", e) for e in (Emotion.HAPPINESS, Emotion.SADNESS))
    # 0.7 : 0.05, less the label that stands on the larger area
    assert happiness / sadness == pytest.approx(14, rel=0.2)


def test_span_without_a_face_stays_empty(tmp_path: Path) -> None:
    face = [create_face(1, Emotion.SURPRISE, probability=1.0)]
    plot_timeline(tmp_path / "whole.png", create_rows([face] * 60), title="whole")
    plot_timeline(tmp_path / "half.png", create_rows([face] * 15 + [[]] * 30 + [face] * 15), title="half")
    whole, half = (count_pixels(tmp_path / name, Emotion.SURPRISE) for name in ("whole.png", "half.png"))
    assert half / whole == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    "faces",
    [[], [[]], [[create_face(1)]], [[create_face(track)] for track in range(1, 21)]],
    ids=["no rows", "no face", "one frame", "more tracks than are drawn"],
)
def test_every_video_gives_a_figure(faces: list[list[FaceRow]], tmp_path: Path) -> None:
    plot_timeline(tmp_path / "plot.png", create_rows(faces), title="any.mp4")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
