"""Command line: a trained network labels stills that nobody did, for a next training (self-training).

`python -m model.pseudo_labels BEST DIR [--shift happiness=1.5]` writes `DIR/pseudo_labels.csv`, which the layout
`pseudo` of `model.train` reads. After Xie et al., "Self-training with Noisy Student" (arXiv 1911.04252): the teacher
sees plain stills, its student disturbed ones. A shift is added to the teacher's logits (Menon et al., arXiv
2007.07314), for classes that it is known to call too seldom on pictures of this kind.
"""

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from model.calibrate import add_shift, parse_shift, softmax
from model.checkpoint import create_network, load_checkpoint
from model.datasets import Still
from model.errors import DatasetError, ModelError
from model.hardware import choose_device
from model.image_tree import ImageTree, is_image
from model.inference import Loading, predict_stills
from model.labels import EMOTIONS
from model.soft_stills import PSEUDO_LABELS_FILE
from model.transforms import ClipTransform


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m model.pseudo_labels", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("teacher", type=Path, metavar="BEST", help="any checkpoint")
    parser.add_argument("stills", type=Path, metavar="DIR", help="crops of worker.extract --stills, labelled or not")
    parser.add_argument(
        "--shift", action="append", default=[], metavar="EMOTION=LOGITS", help="added to the teacher's logits"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        count = label_stills(
            arguments.teacher,
            arguments.stills,
            shift=parse_shift(arguments.shift),
            loading=Loading(device=choose_device(arguments.device), batch_clips=64),
            console=console,
        )
    except (ModelError, OSError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    console.print(f"{count} stills labelled: {arguments.stills / PSEUDO_LABELS_FILE}")
    return 0


def label_stills(teacher: Path, root: Path, *, shift: Mapping[int, float], loading: Loading, console: Console) -> int:
    """Write the teacher's shares of the seven classes for every still under `root`; returns how many.

    Raises:
        CheckpointError: The teacher cannot be used.
        DatasetError: There is no still, or one is no picture.
    """
    checkpoint = load_checkpoint(teacher)
    tree = ImageTree(root)
    stills = [Still(tree, name, 0) for name in tree.names() if is_image(name)]  # the label is not looked at
    if not stills:
        raise DatasetError.at(root, expected="crops", actual="none")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("stills", total=len(stills))
        predictions = predict_stills(
            create_network(checkpoint),
            ClipTransform(checkpoint.transform),
            stills,
            loading=loading,
            on_progress=lambda n: progress.advance(task, n),
        )
    shares = softmax(add_shift(predictions.logits, shift), temperature=checkpoint.temperature)
    with (root / PSEUDO_LABELS_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"share_{emotion}" for emotion in EMOTIONS)])
        for name, row in zip(predictions.names, shares, strict=True):
            writer.writerow([name, *(f"{share:.5f}" for share in row)])
    return len(stills)


if __name__ == "__main__":
    sys.exit(main())
