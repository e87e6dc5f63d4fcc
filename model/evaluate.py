"""Measures a checkpoint: `python -m model.evaluate --clips TREE | --stills DIR [--json F] [--plot F]`, see `--help`.

`--clips` evaluates as the paper does: eight-frame clips in order, the last padded with zeros, all eight frames
classified at once. `--stills` does the same for single crops (`worker.extract --stills`), each repeated to a clip.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from model.affwild2 import evaluation_clips, read_affwild2
from model.calibrate import softmax
from model.card import Evaluation, write_card
from model.checkpoint import DEFAULT_WEIGHTS, create_network, load_checkpoint
from model.datasets import Layout, Split, read_stills
from model.errors import ModelError
from model.hardware import choose_device, describe_hardware
from model.inference import Loading, Predictions, predict_stills, predict_videos
from model.metrics import Metrics, compute_metrics
from model.network import EmotionNet
from model.report import plot_report, print_report, write_predictions
from model.transforms import ClipTransform


@dataclass(frozen=True, slots=True)
class Source:
    """What is evaluated on."""

    kind: str
    """`clips` or `stills`."""
    root: Path
    split: Split
    layout: Layout


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parse(argv)
    try:
        return _evaluate(arguments)
    except (ModelError, ValueError) as error:
        print(f"emoclip evaluate: {error}", file=sys.stderr)  # noqa: T201  # a command line's own error line
        return 2


def predict(
    network: EmotionNet, transform: ClipTransform, source: Source, *, loading: Loading, console: Console
) -> Predictions:
    """Classify everything in the source, with a progress bar on the console.

    Raises:
        DatasetError: The data is not what its layout promises.
    """
    with Progress(console=console, transient=True) as progress:
        if source.kind == "stills":
            stills = read_stills(source.root, source.layout, split=source.split)
            task = progress.add_task("stills", total=len(stills))
            return predict_stills(
                network, transform, stills, loading=loading, on_progress=lambda n: progress.advance(task, n)
            )
        tree, videos = read_affwild2(source.root, source.split)
        task = progress.add_task("clips", total=len(evaluation_clips(videos)))
        return predict_videos(
            network, transform, tree, videos, loading=loading, on_progress=lambda n: progress.advance(task, n)
        )


def measure(predictions: Predictions, *, temperature: float, bootstrap: int) -> Metrics:
    """Measure predictions at a temperature; whole recordings are resampled for the intervals.

    Raises:
        ValueError: There is no labelled item.
    """
    return compute_metrics(
        predictions.labels,
        softmax(predictions.logits, temperature=temperature),
        bootstrap=bootstrap,
        groups=np.array(predictions.groups),
    )


def _evaluate(arguments: argparse.Namespace) -> int:
    console = Console(stderr=True)
    checkpoint = load_checkpoint(arguments.weights)
    source = Source(
        kind="stills" if arguments.stills else "clips",
        root=arguments.stills or arguments.clips,
        split=arguments.split,
        layout=arguments.layout,
    )
    device = choose_device(arguments.device)
    started = time.monotonic()
    predictions = predict(
        create_network(checkpoint),
        ClipTransform(checkpoint.transform),
        source,
        loading=Loading(device=device, batch_clips=arguments.batch, workers=arguments.workers),
        console=console,
    )
    seconds = time.monotonic() - started
    metrics = measure(predictions, temperature=checkpoint.temperature, bootstrap=arguments.bootstrap)
    title = f"{checkpoint.name} on {source.root.name}"
    print_report(Console(), metrics, title=title)
    if arguments.json:
        weights = {"name": checkpoint.name, "sha256": checkpoint.sha256}
        arguments.json.write_text(json.dumps({**metrics.to_json(), "weights": weights}, indent=2) + "\n")
    if arguments.predictions:
        write_predictions(arguments.predictions, predictions, temperature=checkpoint.temperature)
    if arguments.plot:
        plot_report(arguments.plot, predictions, metrics, temperature=checkpoint.temperature, title=title)
    if arguments.card:
        evaluation = Evaluation(
            data=source.root.name,
            command=f"python -m model.evaluate --{source.kind} {source.root.name}"
            + (f" --layout {source.layout}" if source.layout is not Layout.CLASS_FOLDERS else ""),
            seconds=seconds,
            hardware=describe_hardware(device),
            metrics=metrics,
        )
        console.print(f"card: {write_card(arguments.weights, checkpoint, evaluation)}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--clips", type=Path, metavar="TREE", help="Aff-Wild2 layout: cropped_aligned/, annotations/")
    what.add_argument(
        "--stills", type=Path, metavar="DIR", help="labelled crops, by default a folder per class; or a zip"
    )
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS, metavar="FILE", help="any checkpoint")
    parser.add_argument("--split", type=Split, choices=list(Split), default=Split.VALIDATION)
    parser.add_argument("--layout", type=Layout, choices=list(Layout), default=Layout.CLASS_FOLDERS, help="of --stills")
    parser.add_argument("--json", type=Path, metavar="F.json", help="write the metrics")
    parser.add_argument("--predictions", type=Path, metavar="F.csv", help="write path, label and probabilities an item")
    parser.add_argument("--plot", type=Path, metavar="F.png", help="draw the confusion matrix and the reliability")
    parser.add_argument("--card", action="store_true", help="write the result into the JSON card beside the weights")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch", type=int, default=16, metavar="CLIPS")
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures; 0: this one")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples for the intervals; 0: none")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
