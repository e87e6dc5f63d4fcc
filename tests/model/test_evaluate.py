"""The evaluation's command line on a tiny checkpoint: numbers, files, errors; and the forward pass behind it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.affwild2 import read_affwild2
from model.calibrate import softmax
from model.checkpoint import create_network, load_checkpoint
from model.datasets import Layout, Split, read_stills
from model.evaluate import main
from model.inference import Loading, predict_stills, predict_videos
from model.labels import EMOTIONS
from model.transforms import ClipTransform
from tests.model.miniature import colour_crop, write_affwild2, write_image, write_tiny_checkpoint


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stills") / "colours"
    for label, emotion in enumerate(EMOTIONS):
        for seed in range(3):
            write_image(root / emotion.value / f"{seed}.png", colour_crop(label, seed=seed))
    return root


@pytest.fixture(scope="module")
def affwild2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_affwild2(tmp_path_factory.mktemp("affwild2"))


CPU = Loading(device=torch.device("cpu"), batch_clips=4)


def test_a_still_is_classified_as_a_clip_of_eight_equal_frames(weights: Path, stills: Path) -> None:
    checkpoint = load_checkpoint(weights)
    network, transform = create_network(checkpoint), ClipTransform(checkpoint.transform)
    items = read_stills(stills, Layout.CLASS_FOLDERS, split=Split.VALIDATION)

    predictions = predict_stills(network, transform, items, loading=CPU)

    repeated = torch.from_numpy(np.stack([items[5].image()] * 8))[None]
    with torch.inference_mode():
        expected = network(transform(repeated)).mean(dim=1)[0]
    np.testing.assert_allclose(predictions.logits[5], expected, atol=1e-5)


def test_a_videos_tail_is_padded_with_zeros_and_all_eight_frames_are_classified_at_once(
    weights: Path, affwild2: Path
) -> None:
    checkpoint = load_checkpoint(weights)
    network, transform = create_network(checkpoint), ClipTransform(checkpoint.transform)
    tree, videos = read_affwild2(affwild2, Split.VALIDATION)

    predictions = predict_videos(network, transform, tree, videos, loading=CPU)

    tail = np.zeros((1, 8, 32, 32, 3), np.uint8)
    tail[0, :5] = np.stack([tree.image(name) for name in videos[1].crops[16:]])
    with torch.inference_mode():
        expected = network(transform(torch.from_numpy(tail)))[0, :5]
    np.testing.assert_allclose(predictions.logits[-5:], expected, atol=1e-5)
    assert predictions.names[-1] == "cropped_aligned/video8_right/00021.jpg"


def test_only_labelled_frames_are_scored_and_a_recording_is_one_group(weights: Path, affwild2: Path) -> None:
    checkpoint = load_checkpoint(weights)
    tree, videos = read_affwild2(affwild2, Split.VALIDATION)

    predictions = predict_videos(
        create_network(checkpoint), ClipTransform(checkpoint.transform), tree, videos, loading=CPU
    )

    assert len(predictions.labels) == 40 + 20
    assert predictions.labels.min() == 0
    assert set(predictions.groups) == {"video8"}


def test_batch_size_and_loader_processes_do_not_change_the_result(weights: Path, affwild2: Path) -> None:
    checkpoint = load_checkpoint(weights)
    network, transform = create_network(checkpoint), ClipTransform(checkpoint.transform)
    tree, videos = read_affwild2(affwild2, Split.VALIDATION)

    singly = predict_videos(
        network, transform, tree, videos, loading=Loading(device=torch.device("cpu"), batch_clips=1)
    )
    together = predict_videos(
        network, transform, tree, videos, loading=Loading(device=torch.device("cpu"), batch_clips=8, workers=2)
    )

    np.testing.assert_allclose(singly.logits, together.logits, atol=1e-5)


def test_stills_from_the_command_line_to_json_csv_figure_and_card(
    weights: Path, stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.read_bytes())
    report, table, figure = tmp_path / "report.json", tmp_path / "predictions.csv", tmp_path / "figure.png"

    code = main(
        ["--stills", str(stills), "--weights", str(own), "--json", str(report), "--predictions", str(table)]
        + ["--plot", str(figure), "--card", "--device", "cpu", "--bootstrap", "50"]
    )

    assert code == 0
    measured = json.loads(report.read_text())
    assert measured["n"] == 21
    assert {"accuracy", "macro_f1", "s", "accuracy_interval", "per_class", "confusion", "ece"} <= measured.keys()
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["path"] for row in rows[:3]] == ["anger/0.png", "anger/1.png", "anger/2.png"]
    assert sum(float(rows[0][emotion.value]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-5)
    right = sum(row["label"] == max(EMOTIONS, key=lambda emotion: float(row[emotion.value])) for row in rows)
    assert measured["accuracy"] == pytest.approx(right / 21)
    assert figure.read_bytes().startswith(b"\x89PNG")
    card = json.loads((tmp_path / "own.json").read_text())
    assert card["sha256"] == measured["weights"]["sha256"]
    assert card["evaluations"]["colours"]["s"] == measured["s"]
    printed = capsys.readouterr().out
    assert "S = 0.33" in printed
    assert "…" not in printed, "cut off on eighty columns"


def test_the_card_keeps_evaluations_on_other_data(weights: Path, stills: Path, affwild2: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.read_bytes())
    common = ["--weights", str(own), "--card", "--device", "cpu", "--bootstrap", "0"]

    assert main(["--stills", str(stills), *common]) == 0
    assert main(["--clips", str(affwild2), *common]) == 0

    card = json.loads((tmp_path / "own.json").read_text())
    assert card["evaluations"].keys() == {"colours", affwild2.name}


def test_the_temperature_of_the_checkpoint_is_applied(weights: Path, stills: Path, tmp_path: Path) -> None:
    hot = write_tiny_checkpoint(tmp_path / "hot.safetensors", temperature=4.0)
    tables = {}
    for path in (weights, hot):
        tables[path] = tmp_path / f"{path.stem}.csv"
        main(["--stills", str(stills), "--weights", str(path), "--predictions", str(tables[path]), "--bootstrap", "0"])

    def probabilities(path: Path) -> NDArray[np.float64]:
        return np.array(
            [[float(row[e.value]) for e in EMOTIONS] for row in csv.DictReader(path.read_text().splitlines())]
        )

    logits = np.log(probabilities(tables[weights]))
    np.testing.assert_allclose(probabilities(tables[hot]), softmax(logits, temperature=4.0), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stills", "nowhere"], "nowhere: expected a folder or a zip file, got nothing there"),
        (["--clips", "nowhere"], "nowhere: expected a folder or a zip file, got nothing there"),
    ],
)
def test_missing_data_gives_one_line_and_exit_code_2(
    arguments: list[str], message: str, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--weights", str(weights)]) == 2

    error = capsys.readouterr().err
    assert message in error
    assert error.strip().count("\n") == 0


def test_a_missing_checkpoint_gives_one_line_and_exit_code_2(
    stills: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stills", str(stills), "--weights", str(tmp_path / "none.safetensors")]) == 2

    assert "none.safetensors" in capsys.readouterr().err
