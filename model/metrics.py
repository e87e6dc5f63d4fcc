"""How good predictions are: Table I's columns, their 95 % bootstrap intervals, and calibration. Free of torch.

Source: ABAW 2020 (arXiv 2001.11409), expression track: S = 0.33 * accuracy + 0.67 * macro F1, the unweighted mean of
the seven F1 scores. A class that is neither labelled nor predicted has F1 0 and stays in the mean, so that no score
rises because a class is missing.
ECE is the expected calibration error (Guo et al. 2017, arXiv 1706.04599) of the most probable class: 15 bins of equal
width over the confidence. Intervals are percentile bootstraps with a fixed seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.labels import EMOTIONS, Emotion

CLASSES = len(EMOTIONS)
ACCURACY_WEIGHT = 0.33
MACRO_F1_WEIGHT = 0.67
ECE_BINS = 15
INTERVAL_PERCENTILES = (2.5, 97.5)
BOOTSTRAP_SEED = 2020

Interval = tuple[float, float]
"""Lower and upper end of a 95 % bootstrap interval."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One row of the per-class table."""

    n: int
    """Items labelled with the class."""
    precision: float
    recall: float
    f1: float
    f1_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Metrics:
    """Everything `evaluate` prints; the intervals are None where no bootstrap was asked for."""

    n: int
    accuracy: float
    accuracy_interval: Interval | None
    macro_f1: float
    macro_f1_interval: Interval | None
    s: float
    """The competition's score, 0.33 * accuracy + 0.67 * macro_f1."""
    s_interval: Interval | None
    balanced_accuracy: float
    """Mean recall over the classes that are labelled at all; predictions are among all seven."""
    balanced_accuracy_interval: Interval | None
    per_class: Mapping[Emotion, ClassMetrics]
    confusion: NDArray[np.int64]
    """(7, 7) counts: rows are labels, columns predictions, both in the order of the logits."""
    ece: float
    nll: float
    """Mean negative log probability of the label, in nats."""

    def to_json(self) -> dict[str, Any]:  # Any: the border to json, whose values have no narrower type
        """Return plain JSON values; each number that has an interval has it beside it."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_interval": _listed(self.accuracy_interval),
            "macro_f1": self.macro_f1,
            "macro_f1_interval": _listed(self.macro_f1_interval),
            "s": self.s,
            "s_interval": _listed(self.s_interval),
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_interval": _listed(self.balanced_accuracy_interval),
            "per_class": {
                emotion.value: {
                    "n": row.n,
                    "precision": row.precision,
                    "recall": row.recall,
                    "f1": row.f1,
                    "f1_interval": _listed(row.f1_interval),
                }
                for emotion, row in self.per_class.items()
            },
            "confusion": self.confusion.tolist(),
            "ece": self.ece,
            "nll": self.nll,
        }


def compute_metrics(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    *,
    bootstrap: int = 1000,
    groups: NDArray[Any] | None = None,  # Any: video names or group numbers alike
) -> Metrics:
    """Measure predictions against labels.

    Args:
        labels: (N,) integers in 0..6, in the order of the logits.
        probabilities: (N, 7), rows summing to 1.
        bootstrap: Resamples for the intervals; 0 leaves them out.
        groups: (N,) what belongs together (a clip's video, a photo's duplicate group): whole groups are resampled,
            since the frames of one video are not independent. None resamples single items.

    Raises:
        ValueError: The shapes disagree, there is no item, or a label is no class.
    """
    _check(labels, probabilities, groups)
    cells = labels.astype(np.int64) * CLASSES + probabilities.argmax(axis=1)
    confusion = _count(cells)
    point = _Scores.of(confusion)
    spread = _Scores.of(_resample(cells, groups=groups, times=bootstrap)) if bootstrap else None
    class_intervals = [_interval(spread.f1[:, i]) if spread else None for i in range(CLASSES)]
    return Metrics(
        n=len(labels),
        accuracy=float(point.accuracy),
        accuracy_interval=_interval(spread.accuracy) if spread else None,
        macro_f1=float(point.macro_f1),
        macro_f1_interval=_interval(spread.macro_f1) if spread else None,
        s=float(point.s),
        s_interval=_interval(spread.s) if spread else None,
        balanced_accuracy=float(point.balanced_accuracy),
        balanced_accuracy_interval=_interval(spread.balanced_accuracy) if spread else None,
        per_class={
            emotion: ClassMetrics(
                n=int(confusion[i].sum()),
                precision=float(point.precision[i]),
                recall=float(point.recall[i]),
                f1=float(point.f1[i]),
                f1_interval=class_intervals[i],
            )
            for i, emotion in enumerate(EMOTIONS)
        },
        confusion=confusion,
        ece=expected_calibration_error(labels, probabilities),
        nll=negative_log_likelihood(labels, probabilities),
    )


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Items whose confidence lies in (lower, upper]."""

    lower: float
    upper: float
    n: int
    confidence: float
    """Mean probability of the predicted class; 0 where the bin is empty."""
    accuracy: float


def reliability(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> list[ReliabilityBin]:
    """Return the reliability diagram: 15 bins of equal width over the confidence of the predicted class."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    # (lower, upper] as in Guo et al.; rounding may carry a probability past 1, hence the clip
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    sizes = np.maximum(counts, 1)
    mean_confidence = np.bincount(bins, weights=confidence, minlength=ECE_BINS) / sizes
    mean_accuracy = np.bincount(bins, weights=correct, minlength=ECE_BINS) / sizes
    return [
        ReliabilityBin(
            lower=i / ECE_BINS,
            upper=(i + 1) / ECE_BINS,
            n=int(counts[i]),
            confidence=float(mean_confidence[i]),
            accuracy=float(mean_accuracy[i]),
        )
        for i in range(ECE_BINS)
    ]


def expected_calibration_error(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Return the mean of |accuracy - confidence| over the bins, weighted by their items; 0 is perfect."""
    return sum(row.n * abs(row.accuracy - row.confidence) for row in reliability(labels, probabilities)) / len(labels)


def negative_log_likelihood(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """Return the mean of -log p(label) in nats; a probability of 0 counts as 1e-12 so that the mean stays finite."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def compute_s(labels: NDArray[np.integer], predictions: NDArray[np.integer]) -> float:
    """Return S alone of decisions (N,), for those who try many."""
    return float(_Scores.of(_count(labels.astype(np.int64) * CLASSES + predictions)).s)


def _count(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cells of the confusion matrix, one an item -> the matrix (7, 7)."""
    return np.bincount(cells, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)


@dataclass(frozen=True, slots=True)
class _Scores:
    """Scores of one confusion matrix, or of a stack of them at once (leading axes are kept)."""

    accuracy: NDArray[np.float64]
    macro_f1: NDArray[np.float64]
    s: NDArray[np.float64]
    balanced_accuracy: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @classmethod
    def of(cls, confusion: NDArray[np.int64]) -> "_Scores":
        hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)  # (..., 7)
        labelled = confusion.sum(axis=-1)
        predicted = confusion.sum(axis=-2)
        recall = hits / np.maximum(labelled, 1)
        f1 = 2 * hits / np.maximum(labelled + predicted, 1)
        accuracy = hits.sum(axis=-1) / np.maximum(confusion.sum(axis=(-2, -1)), 1)
        macro_f1 = f1.mean(axis=-1)
        return cls(
            accuracy=accuracy,
            macro_f1=macro_f1,
            s=ACCURACY_WEIGHT * accuracy + MACRO_F1_WEIGHT * macro_f1,
            balanced_accuracy=recall.sum(axis=-1) / np.maximum((labelled > 0).sum(axis=-1), 1),
            precision=hits / np.maximum(predicted, 1),
            recall=recall,
            f1=f1,
        )


def _resample(cells: NDArray[np.int64], *, groups: NDArray[Any] | None, times: int) -> NDArray[np.int64]:
    """Return (times, 7, 7) confusion matrices of bootstrap resamples."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    if groups is None:
        # drawing N items with replacement and counting cells is one multinomial draw over the 49 cells
        share = np.bincount(cells, minlength=CLASSES * CLASSES) / len(cells)
        return rng.multinomial(len(cells), share, size=times).reshape(times, CLASSES, CLASSES)
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    per_group = np.bincount(group * CLASSES * CLASSES + cells, minlength=count * CLASSES * CLASSES)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=times)  # (times, groups)
    return (draws @ per_group.reshape(count, CLASSES * CLASSES)).reshape(times, CLASSES, CLASSES)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, INTERVAL_PERCENTILES)
    return float(low), float(high)


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _check(labels: NDArray[np.integer], probabilities: NDArray[np.floating], groups: NDArray[Any] | None) -> None:
    if labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"expected labels of shape (N,) with N >= 1, got {labels.shape = }")
    if probabilities.shape != (len(labels), CLASSES):
        raise ValueError(f"expected probabilities of shape ({len(labels)}, {CLASSES}), got {probabilities.shape = }")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise ValueError(f"expected labels in 0..{CLASSES - 1}, got {labels.min()}..{labels.max()}")
    if groups is not None and groups.shape != labels.shape:
        raise ValueError(f"expected one group an item, {labels.shape}, got {groups.shape = }")
