"""Command line: the best weights of a run -> a file to ship: temperature fitted, tensors rounded, both measured.

`python -m model.export runs/default/best.safetensors model/weights/default.safetensors --stills DIR`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from model.calibrate import fit_temperature, softmax
from model.checkpoint import create_network, load_checkpoint, save_checkpoint
from model.datasets import Layout, Split, Still, read_stills
from model.errors import ModelError
from model.hardware import choose_device
from model.inference import Loading, predict_stills
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
    parser.add_argument("--storage", choices=("fp16", "int8"), default="fp16")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        checkpoint = load_checkpoint(arguments.run)
        transform = ClipTransform(checkpoint.transform)
        stills = read_stills(arguments.stills, arguments.layout, split=Split.VALIDATION)
        loading = Loading(device=choose_device(arguments.device))
        network = create_network(checkpoint)
        predictions = predict_stills(network, transform, stills, loading=loading)
        temperature = fit_temperature(predictions.logits, predictions.labels)

        def save(rounding: dict[str, Any]) -> None:  # Any: JSON
            save_checkpoint(
                arguments.out,
                network,
                transform=checkpoint.transform,
                temperature=temperature,
                name=checkpoint.name,
                metrics={**checkpoint.metrics, "rounding": rounding},
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
    console.print(f"{arguments.out}: temperature {temperature:.3f}, {rounding}", markup=False)
    return 0


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
