"""Does the BLSTM help? `python -m tests.bench.temporal DIR --json F` classifies clips made of validation stills.

`blstm` classifies all eight frames at once, as serving does; `frame_wise` gives each frame a clip of its own;
`frame_mean` averages these probabilities over the clip's frames. DIR is FERPlus after `worker.extract --stills`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint import DEFAULT_WEIGHTS, create_network, load_checkpoint
from model.datasets import Split
from model.hardware import describe_hardware
from model.labels import CLIP_FRAMES, EMOTIONS
from model.metrics import compute_metrics
from model.soft_stills import read_votes
from model.still_clips import StillClipViews
from model.transforms import ClipTransform
from tests.bench.report import describe_command

BATCH = 16


def main() -> None:
    """Run the comparison and write its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stills", type=Path)
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.weights)
    network = create_network(checkpoint)
    stills = read_votes(arguments.stills, split=Split.VALIDATION)
    clips = StillClipViews(
        stills,
        np.full(len(stills), 1 / len(stills)),
        ClipTransform(checkpoint.transform),
        frames=CLIP_FRAMES,
        seed=99,
    )
    targets: list[Tensor] = []
    ways: dict[str, list[Tensor]] = {name: [] for name in ("blstm", "frame_wise", "frame_mean")}
    for start in range(0, arguments.clips, BATCH):
        batch = [clips[number] for number in range(start, min(start + BATCH, arguments.clips))]
        pictures, wanted = torch.stack([p for p, _ in batch]), torch.stack([t for _, t in batch])
        shown = wanted.sum(dim=2) > 0  # (B, 8): padding has no target
        with torch.inference_mode():
            features = network.extract_features(pictures)  # (B, 8, D)
            blstm = (network.classify(features) / checkpoint.temperature).softmax(dim=-1)
            alone = features.flatten(0, 1)[:, None].expand(-1, CLIP_FRAMES, -1)  # (B x 8, 8, D)
            frame_wise = (network.classify(alone).mean(dim=1) / checkpoint.temperature).softmax(dim=-1)
        frame_wise = frame_wise.unflatten(0, blstm.shape[:2])
        mean = (frame_wise * shown[..., None]).sum(dim=1, keepdim=True) / shown.sum(dim=1)[:, None, None]
        for name, result in zip(ways, (blstm, frame_wise, mean.expand_as(blstm)), strict=True):
            ways[name].append(result[shown])
        targets.append(torch.cat([wanted, is_steady(wanted)[:, None, None].expand(-1, CLIP_FRAMES, 1)], dim=2)[shown])
    stacked = torch.cat(targets).numpy()
    labels, steady = stacked[:, : len(EMOTIONS)].argmax(axis=1), stacked[:, -1] > 0
    report: dict[str, Any] = {  # Any: JSON
        "command": describe_command("tests.bench.temporal"),
        "hardware": describe_hardware(torch.device("cpu")),
        "weights": checkpoint.sha256,
        "clips": arguments.clips,
    }
    for part, chosen in (("all", np.full(len(labels), True)), ("steady", steady), ("transitions", ~steady)):
        report[part] = {"frames": int(chosen.sum())} | {
            name: figures(labels[chosen], torch.cat(results).numpy()[chosen]) for name, results in ways.items()
        }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))  # noqa: T201  # what the command is for


def is_steady(targets: Tensor) -> Tensor:
    """(B, 8, 7) -> (B,) float: whether the class of the shown frames stays the same."""
    labels, shown = targets.argmax(dim=2), targets.sum(dim=2) > 0
    return ((labels == labels[:, :1]) | ~shown).all(dim=1).float()


def figures(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Accuracy, macro F1 and S, to four places."""
    metrics = compute_metrics(labels, probabilities, bootstrap=0)
    return {name: round(float(getattr(metrics, name)), 4) for name in ("accuracy", "macro_f1", "s")}


if __name__ == "__main__":
    main()
