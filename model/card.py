"""The JSON card beside a weights file: what it is, how it was trained, what it reached. Written by `evaluate` alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.checkpoint import Checkpoint
from model.errors import CheckpointError
from model.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measurement, with what it was made on and with."""

    data: str
    """Name of the evaluated folder: evaluations of one card are told apart by it."""
    command: str
    seconds: float
    hardware: dict[str, str | int]
    metrics: Metrics


def card_path(weights: Path) -> Path:
    """Return where the card of a weights file lies."""
    return weights.with_suffix(".json")


def write_card(weights: Path, checkpoint: Checkpoint, evaluation: Evaluation) -> Path:
    """Write or extend the card; what was measured on other data stays in as long as the weights are the same.

    Raises:
        CheckpointError: A file is in the card's place that is no card.
    """
    path = card_path(weights)
    card = {
        "name": checkpoint.name,
        "sha256": checkpoint.sha256,
        "size_bytes": weights.stat().st_size,
        "network": asdict(checkpoint.config),
        "transform": asdict(checkpoint.transform),
        "temperature": checkpoint.temperature,
        "training": checkpoint.metrics,
        "evaluations": _earlier_evaluations(path, checkpoint.sha256)
        | {
            evaluation.data: {
                "command": evaluation.command,
                "seconds": round(evaluation.seconds, 1),
                "hardware": evaluation.hardware,
                **evaluation.metrics.to_json(),
            }
        },
    }
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def _earlier_evaluations(path: Path, sha256: str) -> dict[str, Any]:  # Any: values of a JSON object
    if not path.exists():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        evaluations: dict[str, Any] = card["evaluations"] if card["sha256"] == sha256 else {}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a card written by model.evaluate, got {error!r}") from error
    return evaluations
