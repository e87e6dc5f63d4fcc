"""The shipped weights' recipe in miniature: views, then clips with a frozen backbone, then export."""

import json
from pathlib import Path

import pytest
import torch

from model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
from model.export import main as export
from model.pseudo_labels import main as label
from model.run_config import load_run
from model.soft_stills import read_pseudo_labels
from model.train import main as train
from tests.model.miniature import colour_crop, write_image

CONFIGS = Path(__file__).resolve().parents[2] / "model" / "configs"
VOTES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
RUN = """
name = "tiny"
[network]
depth = 18
stem = "small"
hidden = 8
classifier_hidden = 8
temporal_residual = true
[transform]
size = 16
[[stages]]
name = "views"
kind = "still_clips"
soft_stills = [{ layout = "votes", path = "set" }, { layout = "weak", path = "weak", weight = 0.5 }]
balance = 0.5
iterations = 6
batch_clips = 7
checkpoint_every = 6
optimizer = { kind = "adamw", learning_rate = 1e-3 }
[[stages]]
name = "clips"
kind = "still_clips"
frames = 8
freeze_backbone = true
soft_stills = [{ layout = "votes", path = "set" }]
iterations = 3
batch_clips = 4
checkpoint_every = 3
optimizer = { kind = "adamw", learning_rate = 1e-3 }
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = [f"image,split,duplicate_group,{','.join(f'votes_{name}' for name in VOTES)}"]
    for number in range(28):
        label = number % 7
        write_image(tmp_path / "set" / f"{number}.jpg", colour_crop(label, seed=number))
        votes = ",".join("10" if place == label else "0" for place in range(7))
        lines.append(f"{number}.webp,{'train' if number < 21 else 'valid'},{number},{votes}")
    (tmp_path / "set" / "labels.csv").write_text("\n".join(lines) + "\n")
    write_image(tmp_path / "weak" / "w.jpg", colour_crop(4))
    (tmp_path / "weak" / "labels.csv").write_text("image,weak_label\nw.jpg,happiness\n")
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path


@pytest.mark.timeout(300)  # some seconds of work, on a machine that may be busy
def test_the_recipe_trains_freezes_and_exports(data: Path) -> None:
    out = data / "out"
    run = [str(data / "run.toml"), "--data", str(data), "--out", str(out), "--device", "cpu"]

    assert train([*run, "--stop-after", "6"]) == 0
    after_views = load_checkpoint(out / "best.safetensors")
    assert train([*run, "--resume"]) == 0
    after_clips = load_checkpoint(out / "best.safetensors")

    frozen = [name for name in after_views.state_dict if name.startswith("backbone.")]
    assert all(torch.equal(after_views.state_dict[n], after_clips.state_dict[n]) for n in frozen)
    assert not torch.equal(after_views.state_dict["blstm.weight_ih_l0"], after_clips.state_dict["blstm.weight_ih_l0"])
    assert [row["stage"] for row in json.loads((out / "curve.json").read_text())] == ["views", "clips"]

    shipped = data / "shipped.safetensors"
    stills = ["--stills", str(data / "set"), "--device", "cpu", "--mirror-average"]
    assert export([str(out / "best.safetensors"), str(shipped), *stills]) == 0
    checkpoint = load_checkpoint(shipped)
    assert checkpoint.mirror_average
    assert checkpoint.temperature != 1.0
    assert checkpoint.metrics["rounding"]["storage"] == "fp16"
    assert shipped.stat().st_size < 0.6 * (out / "best.safetensors").stat().st_size


@pytest.mark.timeout(300)
def test_a_trained_network_teaches_its_successor(data: Path) -> None:
    run = ["--data", str(data), "--device", "cpu", "--skip-stage", "clips"]
    assert train([str(data / "run.toml"), "--out", str(data / "teacher"), *run]) == 0
    teacher = data / "teacher" / "best.safetensors"

    assert label([str(teacher), str(data / "weak"), "--shift", "fear=50", "--device", "cpu"]) == 0
    (still,) = read_pseudo_labels(data / "weak")
    assert still.target[VOTES.index("fear")] == pytest.approx(1)

    config = data / "student.toml"
    config.write_text(RUN.replace('layout = "weak"', 'layout = "pseudo"').replace('"tiny"', '"student"'))
    assert train([str(config), "--out", str(data / "student"), "--start-from", str(teacher), *run]) == 0
    started_from = load_checkpoint(data / "student" / "best.safetensors").metrics["started_from"]
    assert started_from["sha256"] == load_checkpoint(teacher).sha256
    assert [row["stage"] for row in started_from["training"]["curve"]] == ["views"]


def test_weights_of_another_network_are_no_start(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = [str(data / "run.toml"), "--data", str(data), "--out", str(data / "out"), "--device", "cpu"]

    assert train([*run, "--start-from", str(DEFAULT_WEIGHTS)]) == 2

    assert "expected weights of the configured network" in capsys.readouterr().err


@pytest.mark.parametrize("shift", ["joy=1", "happiness", "happiness=much"])
def test_a_shift_that_cannot_be_read_gives_one_line(data: Path, shift: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert label([str(data / "none"), str(data / "weak"), "--shift", shift]) == 2

    assert capsys.readouterr().err.startswith("error: --shift: expected one of neutral, ")


def test_export_of_a_missing_run_gives_one_line(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export([str(data / "none"), str(data / "o"), "--stills", str(data / "set")]) == 2

    assert capsys.readouterr().err.startswith("error: ")


def test_the_shipped_recipe_is_valid() -> None:
    run = load_run(CONFIGS / "default.toml")

    assert [stage.repeat for stage in run.stages] == [8, 1]
    assert run.network.cbam
