"""Command line: the best weights of a run -> a file to ship: offsets and temperature fitted, tensors rounded.

`python -m model.export runs/default/best.safetensors model/weights/default.safetensors --stills DIR`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from model.calibrate import cross_validated_s, fit_offsets, fit_temperature, parse_shift, softmax
from model.checkpoint import create_network, load_checkpoint, save_checkpoint
from model.datasets import Layout, Split, Still, read_stills
from model.errors import ModelError
from model.hardware import choose_device
from model.inference import Loading, predict_stills
from model.labels import EMOTIONS
from model.metrics import compute_metrics
from model.network import EmotionNet
from model.transforms import ClipTransform


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.export", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="BEST", help="a checkpoint that model.train wrote")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--stills", type=Path, required=True, metavar="DIR", help="validation crops")
    parser.add_argument("--layout", type=Layout, choices=list(Layout), default=Layout.VOTES)
    parser.add_argument(
        "--shift",
        action="append",
        default=[],
        metavar="EMOTION=LOGITS",
        help="an offset that is given instead of fitted",
    )
    parser.add_argument(
        "--mirror-average", action="store_true", help="average the features of each frame and its mirror image"
    )
    parser.add_argument("--storage", choices=("fp16", "int8"), default="fp16")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        checkpoint = load_checkpoint(arguments.run)
        transform = ClipTransform(checkpoint.transform)
        stills = read_stills(arguments.stills, arguments.layout, split=Split.VALIDATION)
        loading = Loading(device=choose_device(arguments.device), batch_clips=64)
        network = create_network(checkpoint)
        network.mirror_average = arguments.mirror_average
        predictions = predict_stills(network, transform, stills, loading=loading)
        given = parse_shift(arguments.shift)
        offsets = fit_offsets(predictions.logits, predictions.labels, given=given)
        add_offsets(network, offsets)
        logits = predictions.logits + offsets
        temperature = fit_temperature(logits, predictions.labels)
        fitted = {
            "offsets": {emotion.value: round(float(o), 2) for emotion, o in zip(EMOTIONS, offsets, strict=True)},
            "given": [EMOTIONS[label].value for label in sorted(given)],
            "s_without_offsets": round(
                compute_metrics(predictions.labels, softmax(predictions.logits), bootstrap=0).s, 5
            ),
            "s_cross_validated": round(cross_validated_s(predictions.logits, predictions.labels, given=given), 5),
        }

        def save(rounding: dict[str, Any]) -> None:  # Any: JSON
            save_checkpoint(
                arguments.out,
                network,
                transform=checkpoint.transform,
                temperature=temperature,
                name=checkpoint.name,
                metrics={**checkpoint.metrics, "fitted": fitted, "rounding": rounding},
                storage=arguments.storage,
            )

        save({})
        rounded = create_network(load_checkpoint(arguments.out))
        rounding = {
            "storage": arguments.storage,
            "before": _figures(network, transform, stills, loading, temperature),
            "after": _figures(rounded, transform, stills, loading, temperature),
        }
        save(rounding)
    except (ModelError, OSError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    console.print(f"{arguments.out}: temperature {temperature:.3f}, {fitted}, {rounding}", markup=False)
    return 0


def add_offsets(network: EmotionNet, offsets: NDArray[np.float64]) -> None:
    """Move the offsets into the bias of the last layer, so that whoever serves the weights need not know of them."""
    last = network.classifier[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.add_(torch.from_numpy(offsets).to(last.bias))


def _figures(
    network: EmotionNet, transform: ClipTransform, stills: Sequence[Still], loading: Loading, temperature: float
) -> dict[str, float]:
    """S, accuracy and calibration error, to show what rounding the weights costs."""
    predictions = predict_stills(network, transform, stills, loading=loading)
    metrics = compute_metrics(predictions.labels, softmax(predictions.logits, temperature=temperature), bootstrap=0)
    return {
        key: round(value, 5) for key, value in (("s", metrics.s), ("accuracy", metrics.accuracy), ("ece", metrics.ece))
    }


if __name__ == "__main__":
    sys.exit(main())
