"""The model card repeats the JSON card beside the shipped weights, whose figures `evaluate` wrote."""

import hashlib
import json
from pathlib import Path

from model.card import card_path
from model.card_tables import MARKS, MODEL_CARD, render
from model.checkpoint import DEFAULT_WEIGHTS
from model.run_config import load_run
from model.train import canonical_json

CONFIG = Path(__file__).resolve().parents[2] / "model" / "configs" / "default.toml"


def test_the_model_card_holds_the_figures_of_the_json_card() -> None:
    card = json.loads(card_path(DEFAULT_WEIGHTS).read_text())

    (figures,) = MARKS.findall(MODEL_CARD.read_text())

    assert figures == render(card)


def test_the_json_card_is_that_of_the_shipped_weights() -> None:
    card = json.loads(card_path(DEFAULT_WEIGHTS).read_text())

    assert card["sha256"] == hashlib.sha256(DEFAULT_WEIGHTS.read_bytes()).hexdigest()


def test_the_config_is_the_recipe_of_the_shipped_weights() -> None:
    card = json.loads(card_path(DEFAULT_WEIGHTS).read_text())

    assert json.loads(canonical_json(load_run(CONFIG))) == card["training"]["recipe"]
