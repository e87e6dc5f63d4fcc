"""The figures of MODEL_CARD.md: `python -m model.card_tables` puts those of the JSON card between its marks."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.card import card_path
from model.checkpoint import DEFAULT_WEIGHTS

MODEL_CARD = Path(__file__).with_name("MODEL_CARD.md")
MARKS = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def main() -> None:
    """Rewrite the figures in MODEL_CARD.md."""
    card = json.loads(card_path(DEFAULT_WEIGHTS).read_text(encoding="utf-8"))
    text = MODEL_CARD.read_text(encoding="utf-8")
    MODEL_CARD.write_text(MARKS.sub(lambda _: render(card), text), encoding="utf-8")


def render(card: Mapping[str, Any]) -> str:  # Any: JSON
    """Return the tables of a card as Markdown: what was measured, the training curve, what rounding cost."""
    return "\n".join([*_evaluations(card["evaluations"]), *_training(card["training"]), ""])


def _evaluations(evaluations: Mapping[str, Any]) -> list[str]:
    lines = ["| Data | n | Accuracy | Balanced | Macro F1 | S | ECE |", "|---|---|---|---|---|---|---|"]
    for name, result in evaluations.items():
        cells = [_with_interval(result, key) for key in ("accuracy", "balanced_accuracy", "macro_f1", "s")]
        lines.append(f"| {name} | {result['n']} | {' | '.join(cells)} | {result['ece']:.3f} |")
    for name, result in evaluations.items():
        lines += [
            "",
            f"{name}, `{result['command']}`:",
            "",
            "| Class | n | Precision | Recall | F1 |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {label} | {row['n']} | {row['precision']:.3f} | {row['recall']:.3f} | {_with_interval(row, 'f1')} |"
            for label, row in result["per_class"].items()
            if row["n"]
        ]
    return lines


def _training(training: Mapping[str, Any]) -> list[str]:
    hardware = ", ".join(f"{key} {value}" for key, value in training["hardware"].items())
    lines = [
        "",
        f"Training, on {hardware}:",
        "",
        "| Stage | Iteration | Loss | S | Accuracy | Clips a second |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['stage']} | {row['iteration']} | {row['loss']:.3f} | {row['s']:.3f} | {row['accuracy']:.3f} "
        f"| {row['clips_per_second']:.0f} |"
        for row in _iter_curve(training)
    ]
    fitted, rounding = training["fitted"], training["rounding"]
    before, after = rounding["before"], rounding["after"]
    offsets = ", ".join(f"{name} {value:+.2f}" for name, value in fitted["offsets"].items())
    given = f"; given, not fitted: {', '.join(fitted['given'])}" if fitted.get("given") else ""
    return [
        *lines,
        "",
        f"Offsets of the logits ({offsets}{given}) took S from {fitted['s_without_offsets']:.4f} to {before['s']:.4f}; "
        f"fitted on four fifths and applied to the other fifth in turn, to {fitted['s_cross_validated']:.4f}.",
        "",
        f"Rounding to {rounding['storage']} took S from {before['s']:.4f} to {after['s']:.4f} and accuracy from "
        f"{before['accuracy']:.4f} to {after['accuracy']:.4f}.",
    ]


def _iter_curve(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the validations of a run after those of the runs that it started from."""
    if "started_from" in training:
        yield from _iter_curve(training["started_from"]["training"])
    yield from training["curve"]


def _with_interval(row: Mapping[str, Any], key: str) -> str:
    interval = row.get(f"{key}_interval")
    return f"{row[key]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


if __name__ == "__main__":
    main()
