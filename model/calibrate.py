"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599): one number that makes probabilities mean what they say.

Fitted on validation data that no weight was trained on, stored in the checkpoint, applied when serving. Free of torch.
"""

import numpy as np
from numpy.typing import NDArray

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
