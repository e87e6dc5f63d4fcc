"""What `evaluate` shows: tables in the terminal, predictions as CSV, a figure as PNG."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from model.calibrate import softmax
from model.inference import Predictions
from model.labels import EMOTIONS
from model.metrics import Interval, Metrics, reliability


def print_report(console: Console, metrics: Metrics, *, title: str) -> None:
    """Print Table I's columns, F1 per class, the confusion matrix and the calibration."""
    summary = Table(title=f"{title}: {metrics.n} items, 95 % intervals by bootstrap")
    summary.add_column("Measure")
    summary.add_column("Value", justify="right")
    for measure, value, interval in (
        ("Accuracy", metrics.accuracy, metrics.accuracy_interval),
        ("F1", metrics.macro_f1, metrics.macro_f1_interval),
        ("S = 0.33 Acc + 0.67 F1", metrics.s, metrics.s_interval),
        ("Balanced accuracy", metrics.balanced_accuracy, metrics.balanced_accuracy_interval),
        ("Expected calibration error", metrics.ece, None),
    ):
        summary.add_row(measure, _with_interval(value, interval))
    console.print(summary)

    # apart, so that both are whole on a terminal of eighty columns
    classes = Table(title="Per class")
    for column in ("Label", "n", "Precision", "Recall", "F1"):
        classes.add_column(column, justify="left" if column == "Label" else "right")
    confusion = Table(title="What the items of each label were predicted as")
    for column in ("Label", *(emotion.value[:4] for emotion in EMOTIONS)):
        confusion.add_column(column, justify="left" if column == "Label" else "right")
    for i, (emotion, row) in enumerate(metrics.per_class.items()):
        f1 = _with_interval(row.f1, row.f1_interval)
        classes.add_row(emotion.value, str(row.n), f"{row.precision:.3f}", f"{row.recall:.3f}", f1)
        counts = (f"[bold]{count}[/]" if i == j else str(count) for j, count in enumerate(metrics.confusion[i]))
        confusion.add_row(emotion.value, *counts)
    console.print(classes)
    console.print(confusion)


def write_predictions(path: Path, predictions: Predictions, *, temperature: float) -> None:
    """Write one line an item: its path, its label, seven probabilities."""
    probabilities = softmax(predictions.logits, temperature=temperature)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *(emotion.value for emotion in EMOTIONS)])
        for name, label, row in zip(predictions.names, predictions.labels, probabilities, strict=True):
            writer.writerow([name, EMOTIONS[label].value, *(f"{value:.6f}" for value in row)])


def plot_report(path: Path, predictions: Predictions, metrics: Metrics, *, temperature: float, title: str) -> None:
    """Draw the confusion matrix (shares of each label, counts written in) beside the reliability diagram."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    confusion, calibration = figure.subplots(1, 2)
    figure.suptitle(f"{title}: S {metrics.s:.3f}, accuracy {metrics.accuracy:.3f}, macro F1 {metrics.macro_f1:.3f}")

    shares = metrics.confusion / np.maximum(metrics.confusion.sum(axis=1, keepdims=True), 1)
    confusion.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*shares.shape):
        colour = "white" if shares[i, j] > 0.5 else "black"
        confusion.text(j, i, str(metrics.confusion[i, j]), ha="center", va="center", color=colour)
    names = [emotion.value for emotion in EMOTIONS]
    confusion.set_xticks(range(len(names)), names, rotation=45, ha="right")
    confusion.set_yticks(range(len(names)), names)
    confusion.set(xlabel="predicted", ylabel="label")

    bins = reliability(predictions.labels, softmax(predictions.logits, temperature=temperature))
    width = 1 / len(bins)
    calibration.bar([row.lower + width / 2 for row in bins], [row.accuracy for row in bins], width=0.9 * width)
    calibration.plot([0, 1], [0, 1], color="gray", linestyle="--")
    calibration.set(
        xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"reliability, ECE {metrics.ece:.3f}"
    )
    figure.savefig(path, dpi=120)


def _with_interval(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
