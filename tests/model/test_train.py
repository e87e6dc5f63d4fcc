"""The paper's recipe on a miniature Aff-Wild2 tree: train, stop, resume bit for bit, several processes, errors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.checkpoint import create_network, load_checkpoint
from model.distributed import ProcessPlace
from model.evaluate import main as evaluate
from model.run_config import OptimizerConfig, load_run
from model.train import BEST_FILE, main
from model.training import CURVE_FILE, STATE_FILE
from tests.model.miniature import colour_crop, write_affwild2, write_image

ROOT = Path(__file__).resolve().parents[2]
EMOTION_FOLDERS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
RESNET = """
name = "miniature"
[network]
depth = 18
stem = "small"
hidden = 16
classifier_hidden = 16
dropout = 0.3
[transform]
size = 16
"""
BASELINE = """
name = "miniature"
[network]
architecture = "mobilenet_v2"
[transform]
size = 16
"""
STILLS_STAGE = """
[[stages]]
name = "stills"
kind = "stills"
stills = [{ layout = "class-folders", path = "faces", validation_path = "faces" }]
iterations = 4
batch_clips = 8
checkpoint_every = 2
optimizer = { kind = "adamw", learning_rate = 1e-3, schedule = "cosine" }
"""
CLIPS_STAGE = """
[[stages]]
name = "clips"
kind = "affwild2"
path = "affwild2"
iterations = 10
batch_clips = 2
checkpoint_every = 5
optimizer = { learning_rate = 1e-2 }
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_affwild2(root / "affwild2")
    for label, folder in enumerate(EMOTION_FOLDERS):
        for seed in range(2):
            write_image(root / "faces" / folder / f"{seed}.png", colour_crop(label, seed=seed))
    return root


def write_run(folder: Path, *stages: str, network: str = BASELINE) -> Path:
    """Write a run; the baseline is the smallest network where the test is not about the network."""
    path = folder / "run.toml"
    path.write_text(network + "".join(stages))
    return path


def train(config: Path, data: Path, out: Path, *more: str) -> int:
    return main([str(config), "--data", str(data), "--out", str(out), "--device", "cpu", *more])


def state(out: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(out / STATE_FILE, weights_only=True)
    return saved


def assert_same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    differing = [name for name in first if not torch.equal(first[name], second[name])]
    assert differing == []


def test_the_whole_recipe_runs_train_checkpoint_resume_evaluate(data: Path, tmp_path: Path) -> None:
    config, out = write_run(tmp_path, STILLS_STAGE, CLIPS_STAGE, network=RESNET), tmp_path / "out"

    assert train(config, data, out, "--stop-after", "7") == 0
    assert train(config, data, out, "--resume") == 0

    curve = json.loads((out / CURVE_FILE).read_text())
    assert [(row["stage"], row["iteration"]) for row in curve] == [
        ("stills", 2),
        ("stills", 4),
        ("clips", 5),
        ("clips", 10),
    ]
    report = tmp_path / "report.json"
    arguments = ["--clips", str(data / "affwild2"), "--weights", str(out / BEST_FILE), "--json", str(report)]
    assert evaluate([*arguments, "--device", "cpu", "--bootstrap", "0"]) == 0
    assert json.loads(report.read_text())["s"] == pytest.approx(max(row["s"] for row in curve[2:]), abs=1e-4)


def test_ten_iterations_equal_five_a_stop_and_five_more_bit_for_bit(data: Path, tmp_path: Path) -> None:
    config = write_run(tmp_path, CLIPS_STAGE.replace("checkpoint_every = 5", "checkpoint_every = 10"), network=RESNET)

    train(config, data, tmp_path / "straight")
    train(config, data, tmp_path / "stopped", "--stop-after", "5")
    train(config, data, tmp_path / "stopped", "--resume")

    straight, resumed = state(tmp_path / "straight"), state(tmp_path / "stopped")
    assert_same_weights(straight["network"], resumed["network"])
    for first, second in zip(
        straight["optimizer"]["state"].values(), resumed["optimizer"]["state"].values(), strict=True
    ):
        assert torch.equal(first["momentum_buffer"], second["momentum_buffer"])
    assert straight["progress"]["curve"][0]["loss"] == resumed["progress"]["curve"][0]["loss"]


def test_loader_processes_do_not_change_what_is_learned(data: Path, tmp_path: Path) -> None:
    config = write_run(tmp_path, CLIPS_STAGE.replace("iterations = 10", "iterations = 3"))

    train(config, data, tmp_path / "one")
    train(config, data, tmp_path / "three", "--workers", "2")

    assert_same_weights(state(tmp_path / "one")["network"], state(tmp_path / "three")["network"])


def test_the_clips_stage_starts_from_the_best_weights_of_the_stills(data: Path, tmp_path: Path) -> None:
    both = write_run(tmp_path, STILLS_STAGE, CLIPS_STAGE.replace("learning_rate = 1e-2", "learning_rate = 1e-30"))
    train(both, data, tmp_path / "out", "--stop-after", "4")
    best_of_stills = state(tmp_path / "out")["best_weights"]

    train(both, data, tmp_path / "out", "--resume", "--stop-after", "1")

    # the second stage's rate is too small to move a weight
    name = "classifier.1.weight"
    assert torch.equal(state(tmp_path / "out")["network"][name], best_of_stills[name])


def test_training_learns_the_miniature(data: Path, tmp_path: Path) -> None:
    stage = STILLS_STAGE.replace("iterations = 4", "iterations = 30").replace(
        "checkpoint_every = 2", "checkpoint_every = 30"
    )
    network = RESNET.replace("dropout = 0.3", "dropout = 0.0\ntemporal_residual = true")

    train(write_run(tmp_path, stage, network=network), data, tmp_path / "out")

    (row,) = json.loads((tmp_path / "out" / CURVE_FILE).read_text())
    assert row["accuracy"] > 0.6  # one in seven by chance; labels that slipped by one would stay there


def test_the_checkpoint_tells_recipe_hardware_and_curve(data: Path, tmp_path: Path) -> None:
    train(write_run(tmp_path, CLIPS_STAGE), data, tmp_path / "out")

    checkpoint = load_checkpoint(tmp_path / "out" / BEST_FILE)

    assert checkpoint.name == "miniature"
    assert checkpoint.metrics["recipe"]["stages"][0]["optimizer"]["momentum"] == 0.9
    assert checkpoint.metrics["hardware"]["processes"] == 1
    assert checkpoint.metrics["curve"][0]["clips_per_second"] > 0
    assert create_network(checkpoint).training is False


def test_scalars_are_logged_for_tensorboard(data: Path, tmp_path: Path) -> None:
    train(write_run(tmp_path, CLIPS_STAGE), data, tmp_path / "out")

    events = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("clips/loss")] == list(range(1, 11))
    assert len(events.Scalars("clips/validation/s")) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_precisions_train(precision: str, data: Path, tmp_path: Path) -> None:
    config = write_run(tmp_path, CLIPS_STAGE.replace("iterations = 10", "iterations = 2"))
    config.write_text(f'precision = "{precision}"\n' + config.read_text())

    assert train(config, data, tmp_path / "out") == 0

    assert all(torch.isfinite(value).all() for value in state(tmp_path / "out")["network"].values())


@pytest.mark.timeout(400)  # three Python processes import torch, seconds each on an idle machine
def test_two_processes_share_each_batch_and_keep_one_network(data: Path, tmp_path: Path) -> None:
    config, out = write_run(tmp_path, CLIPS_STAGE.replace("iterations = 10", "iterations = 3")), tmp_path / "out"
    script = Path(__file__).with_name("train_on_two_processes.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]

    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([*torchrun, str(config), str(data), str(out)], env=environment, check=True, timeout=380)

    # each saw other clips, so equal weights mean that the gradients were averaged
    first, second = (torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert_same_weights(first, second)
    assert load_checkpoint(out / BEST_FILE).metrics["hardware"]["processes"] == 2
    assert state(out)["progress"]["iteration"] == 3


def test_the_shares_of_all_processes_are_the_batch() -> None:
    shares = [ProcessPlace(rank=rank, count=3).share(range(8, 14)) for rank in range(3)]

    assert sorted(number for share in shares for number in share) == list(range(8, 14))
    assert {len(share) for share in shares} == {2}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "iterations = 10",
            "iterations = 0",
            r"run\.toml: stages\.0.*iterations, batch_clips and checkpoint_every >= 1",
        ),
        ("iterations = 10", "iteration = 10", r"stages\.0\.iteration: Unexpected keyword argument"),
        ('"mobilenet_v2"', '"mobilenet_v3"', r"network\.architecture"),
        ("learning_rate = 1e-2", "learning_rate = -1", r"optimizer.*expected learning_rate > 0"),
        ('path = "affwild2"', 'path = ""', r"expected `stills`, `path` or `soft_stills` alone"),
        ('path = "affwild2"', 'path = "lost"', r"lost: expected a folder or a zip file, got nothing there"),
        ("[network]", "[network", r"run\.toml: "),
    ],
)
def test_a_run_that_cannot_be_gives_one_line_and_exit_code_2(
    old: str, new: str, message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_run(tmp_path, CLIPS_STAGE)
    config.write_text(config.read_text().replace(old, new))

    assert train(config, data, tmp_path / "out") == 2

    error = capsys.readouterr().err
    assert error.strip().count("\n") == 0
    assert re.search(message, error)


def test_resuming_without_a_state_or_with_another_configuration_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = write_run(tmp_path, CLIPS_STAGE), tmp_path / "out"

    assert train(config, data, out, "--resume") == 2
    assert "expected the state of a stopped run" in capsys.readouterr().err

    train(config, data, out, "--stop-after", "1")
    config.write_text(config.read_text().replace("1e-2", "1e-3"))
    assert train(config, data, out, "--resume") == 2
    assert "got that of another" in capsys.readouterr().err


def test_skip_stage_leaves_a_stage_out(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = write_run(tmp_path, STILLS_STAGE, CLIPS_STAGE), tmp_path / "out"

    assert train(config, data, out, "--skip-stage", "stills", "--stop-after", "1") == 0
    assert state(out)["progress"]["stage"] == 0
    assert train(config, data, out, "--skip-stage", "still") == 2
    assert "expected one of stills, clips" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["affwild2", "affwild2-nocbam", "affwild2-baseline"])
def test_the_published_configurations_are_table_ones_rows(name: str) -> None:
    run = load_run(ROOT / "model" / "configs" / f"{name}.toml")

    clips = run.stages[-1]
    assert (clips.batch_clips, clips.iterations, clips.checkpoint_every) == (4, 200_000, 1_000)
    assert (clips.optimizer.kind, clips.optimizer.learning_rate, clips.optimizer.momentum) == ("sgd", 1e-4, 0.9)
    assert run.network.cbam is (name != "affwild2-nocbam")
    assert (run.network.architecture == "mobilenet_v2") is (name == "affwild2-baseline")


def test_the_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    config = OptimizerConfig(learning_rate=1.0, schedule="cosine", warmup_iterations=10)

    rates = [config.rate_at(i, iterations=100) for i in range(100)]

    assert rates[0] == pytest.approx(0.1)
    assert rates[50] == pytest.approx(0.5)
    assert rates[99] < 0.001
