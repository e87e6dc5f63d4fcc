"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number that makes probabilities mean what they say.

And offsets of the logits (Menon et al. 2021, arXiv 2007.07314, their post-hoc form with free offsets): a network names
rare classes too seldom for a mean of F1 scores. Both are fitted on validation data that no weight was trained on,
stored in the checkpoint, applied when serving. Free of torch.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model.errors import ConfigError
from model.labels import EMOTIONS
from model.metrics import compute_s

TEMPERATURE_RANGE = (0.05, 20.0)
BISECTIONS = 50


def softmax(logits: NDArray[np.floating], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities of logits (..., 7), computed in float64."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the temperature that minimises the negative log likelihood of the labels.

    Args:
        logits: (N, 7) as the network returns them, before any temperature.
        labels: (N,) integers in 0..6.
    """
    scores = logits.astype(np.float64)
    chosen = scores[np.arange(len(labels)), labels].mean()
    low, high = np.log(TEMPERATURE_RANGE)
    # the likelihood is convex in 1 / temperature, so its slope changes sign once: bisect
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        expected = (softmax(scores, temperature=float(np.exp(middle))) * scores).sum(axis=1).mean()
        low, high = (middle, high) if expected > chosen else (low, middle)
    return float(np.exp((low + high) / 2))


OFFSET_STEPS = np.linspace(-1.0, 1.0, 21)
"""Bounded, since a class with twenty stills would otherwise be fitted to each of them."""
OFFSET_PASSES = 3
OFFSET_RESAMPLES = 20
FOLDS = 5


def fit_offsets(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, given: Mapping[int, float]
) -> NDArray[np.float64]:
    """Return the seven offsets to logits that maximise S, the mean over bootstrap resamples: few stills decide little.

    One class after the other, a few times over. Offsets apply before any temperature: they are in units of the logits.

    Args:
        logits: (N, 7).
        labels: (N,) integers in 0..6.
        given: Offsets by label that are not fitted.
    """
    resamples = np.random.default_rng(0).integers(0, len(labels), (OFFSET_RESAMPLES, len(labels)))
    offsets = add_shift(np.zeros(logits.shape[1]), given)
    fitted = [label for label in range(len(offsets)) if label not in given]

    def score(candidate: NDArray[np.float64]) -> float:
        chosen = (logits + candidate).argmax(axis=1)
        return float(np.mean([compute_s(labels[r], chosen[r]) for r in resamples]))

    for _ in range(OFFSET_PASSES):
        for label in fitted:
            candidates = []
            for step in OFFSET_STEPS:
                candidate = offsets.copy()
                candidate[label] = step
                # of equal scores the smaller offset wins
                candidates.append((score(candidate), -abs(step), candidate))
            offsets = max(candidates, key=lambda c: c[:2])[2]
    return offsets


def cross_validated_s(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, given: Mapping[int, float]
) -> float:
    """Return S of offsets that were fitted on four fifths of the stills and applied to the fifth: the honest gain."""
    folds = np.random.default_rng(1).integers(0, FOLDS, len(labels))
    chosen = np.empty(len(labels), np.int64)
    for fold in range(FOLDS):
        offsets = fit_offsets(logits[folds != fold], labels[folds != fold], given=given)
        chosen[folds == fold] = (logits[folds == fold] + offsets).argmax(axis=1)
    return compute_s(labels, chosen)


def parse_shift(options: Sequence[str]) -> dict[int, float]:
    """Read `happiness=1.5` and the like into offsets by label.

    Raises:
        ConfigError: A name is no class, or a number none.
    """
    names = [emotion.value for emotion in EMOTIONS]
    shift = {}
    for option in options:
        name, _, number = option.partition("=")
        try:
            shift[names.index(name)] = float(number)
        except ValueError as error:
            expected = f"one of {', '.join(names)}, `=` and a number"
            raise ConfigError(f"--shift: expected {expected}, got {option!r}") from error
    return shift


def add_shift(logits: NDArray[np.floating], shift: Mapping[int, float]) -> NDArray[np.float64]:
    """Return logits (..., 7) with the offsets of some labels added."""
    shifted = logits.astype(np.float64)
    for label, offset in shift.items():
        shifted[..., label] += offset
    return shifted
