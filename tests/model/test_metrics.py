"""Metrics against hand-computed values and against their definitions."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from model.calibrate import cross_validated_s, fit_offsets, fit_temperature, softmax
from model.labels import Emotion
from model.metrics import Interval, compute_metrics, expected_calibration_error, reliability


def one_hot(predictions: list[int], *, confidence: float = 1.0) -> NDArray[np.float64]:
    rest = (1 - confidence) / 6
    probabilities = np.full((len(predictions), 7), rest)
    probabilities[np.arange(len(predictions)), predictions] = confidence
    return probabilities


def width(interval: Interval | None) -> float:
    assert interval is not None
    return interval[1] - interval[0]


def test_scores_equal_a_hand_computed_case() -> None:
    labels = np.array([0, 0, 0, 4, 4, 6])
    metrics = compute_metrics(labels, one_hot([0, 0, 4, 4, 4, 0]), bootstrap=0)

    f1_neutral = 2 * 2 / (3 + 3)
    f1_happiness = 2 * 2 / (2 + 3)
    assert metrics.n == 6
    assert metrics.accuracy == pytest.approx(4 / 6)
    assert metrics.macro_f1 == pytest.approx((f1_neutral + f1_happiness) / 7)
    assert metrics.s == pytest.approx(0.33 * 4 / 6 + 0.67 * (f1_neutral + f1_happiness) / 7)
    assert metrics.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics.per_class[Emotion.SURPRISE].f1 == 0
    assert metrics.per_class[Emotion.HAPPINESS].precision == pytest.approx(2 / 3)
    assert metrics.confusion[0].tolist() == [2, 0, 0, 0, 1, 0, 0]


def test_perfect_predictions_of_all_classes_score_one() -> None:
    labels = np.arange(7)
    metrics = compute_metrics(labels, one_hot(list(range(7))), bootstrap=0)

    assert (metrics.accuracy, metrics.macro_f1, metrics.s, metrics.ece) == pytest.approx((1, 1, 1, 0))


def test_intervals_cover_the_value_and_shrink_with_more_items() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 4000)
    probabilities = rng.dirichlet(np.ones(7), 4000)
    probabilities[np.arange(4000), labels] += rng.random(4000)
    probabilities /= probabilities.sum(axis=1, keepdims=True)

    few = compute_metrics(labels[:200], probabilities[:200])
    many = compute_metrics(labels, probabilities)

    assert many.s_interval is not None
    assert many.s_interval[0] < many.s < many.s_interval[1]
    assert width(many.s_interval) < width(few.s_interval) / 2
    # the standard error of a share is known: the bootstrap has to agree with it
    standard_error = np.sqrt(many.accuracy * (1 - many.accuracy) / 4000)
    assert width(many.accuracy_interval) == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_intervals_repeat_exactly() -> None:
    labels = np.random.default_rng(1).integers(0, 7, 300)
    probabilities = np.random.default_rng(2).dirichlet(np.ones(7), 300)

    assert compute_metrics(labels, probabilities).to_json() == compute_metrics(labels, probabilities).to_json()


def test_grouped_bootstrap_is_wider_where_a_video_is_all_right_or_all_wrong() -> None:
    labels = np.tile(np.arange(7), 100)
    groups = np.repeat(np.arange(10), 70)
    right = np.repeat(np.arange(10) % 2 == 0, 70)
    probabilities = one_hot(np.where(right, labels, (labels + 1) % 7).tolist())

    by_item = compute_metrics(labels, probabilities)
    by_video = compute_metrics(labels, probabilities, groups=groups)

    assert by_video.accuracy == by_item.accuracy
    assert width(by_video.accuracy_interval) > 3 * width(by_item.accuracy_interval)


def test_ece_is_the_gap_between_confidence_and_accuracy() -> None:
    labels = np.array([0] * 6 + [1] * 4)

    assert expected_calibration_error(labels, one_hot([0] * 10, confidence=0.9)) == pytest.approx(0.3)


def test_reliability_bins_hold_every_item_certainty_included() -> None:
    bins = reliability(np.arange(7), one_hot(list(range(7)), confidence=1.0))

    assert sum(row.n for row in bins) == 7
    assert bins[-1].n == 7


def test_to_json_has_each_interval_beside_its_value() -> None:
    metrics = compute_metrics(np.arange(7), one_hot(list(range(7)))).to_json()

    assert json.loads(json.dumps(metrics)) == metrics
    assert {"n", "accuracy", "macro_f1", "s", "per_class", "confusion", "ece"} <= metrics.keys()
    assert all(len(metrics[f"{key}_interval"]) == 2 for key in ("accuracy", "macro_f1", "s"))


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        (np.zeros(0, int), np.zeros((0, 7)), "N >= 1"),
        (np.zeros(3, int), np.zeros((3, 6)), r"\(3, 7\)"),
        (np.array([7]), one_hot([0]), r"0\.\.6"),
    ],
)
def test_impossible_input_is_refused(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compute_metrics(labels, probabilities)


def test_fit_temperature_recovers_the_temperature_that_made_the_labels() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (20_000, 7))
    uniform = rng.random((20_000, 1))
    labels = (softmax(logits, temperature=2.0).cumsum(axis=1) < uniform).sum(axis=1)

    fitted = fit_temperature(logits, labels)

    assert fitted == pytest.approx(2.0, rel=0.05)  # sampling error of 20,000 labels
    assert expected_calibration_error(labels, softmax(logits, temperature=fitted)) < 0.02


def test_fit_offsets_leaves_what_is_given() -> None:
    rng = np.random.default_rng(0)

    offsets = fit_offsets(rng.normal(size=(50, 7)), rng.integers(0, 7, 50), given={0: 0.25, 4: 0.0})

    assert offsets[[0, 4]].tolist() == [0.25, 0.0]
    assert offsets.any()


def test_fit_offsets_undoes_a_bias_against_a_class() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 7, 700)
    fair = rng.normal(0, 1, (700, 7)) + 2.5 * np.eye(7)[labels]
    biased = fair - 0.8 * np.eye(7)[2]

    offsets = fit_offsets(biased, labels, given={})

    assert offsets[2] - np.delete(offsets, 2).mean() == pytest.approx(0.8, abs=0.35)  # noise of 100 items a class
    before, after = (compute_metrics(labels, softmax(logits), bootstrap=0).s for logits in (biased, biased + offsets))
    assert after > before + 0.01
    assert cross_validated_s(biased, labels, given={}) <= after
