"""Opens the data of a run's stages: what is trained on, and what validates."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from model.affwild2 import read_affwild2
from model.calibrate import softmax
from model.clip_datasets import AffWild2Clips, StillFrames
from model.datasets import Layout, Split, Still, read_stills
from model.errors import ConfigError
from model.inference import Loading, Predictions, predict_made_clips, predict_stills, predict_videos
from model.metrics import Metrics, compute_metrics
from model.run_config import RunConfig, SoftStillsData, StageConfig, StillsData
from model.soft_stills import SoftStill, balancing_weights, read_pseudo_labels, read_votes, read_weak_labels
from model.still_clips import StillClipViews
from model.training import Stage
from model.transforms import ClipTransform

VALIDATION_CLIPS = 400


def open_stage(config: StageConfig, run: RunConfig, *, data: Path, loading: Loading) -> Stage:
    """Read the lists of a stage's data; pictures are read while training.

    Raises:
        DatasetError: The data is not what its layout promises.
        ConfigError: Nothing validates.
    """
    transform = ClipTransform(run.transform)
    if config.kind == "affwild2":
        tree, videos = read_affwild2(data / config.path, Split.TRAIN)
        validation_tree, validation_videos = read_affwild2(data / config.path, Split.VALIDATION)
        return Stage(
            config=config,
            clips=AffWild2Clips(tree, videos, transform, seed=run.seed, mirror=run.mirror),
            validate=lambda network: _measure(
                predict_videos(network, transform, validation_tree, validation_videos, loading=loading)
            ),
        )
    if config.kind == "still_clips":
        return _open_still_clips(config, run, transform, data=data, loading=loading)
    train = [still for part in config.stills for still in _read(part, Split.TRAIN, data)]
    validation = [still for part in config.stills for still in _read(part, Split.VALIDATION, data)]
    if not validation:
        raise ConfigError(f"stage {config.name}: expected stills to validate on, got no validation_path")
    return Stage(
        config=config,
        clips=StillFrames(train, transform, seed=run.seed, mirror=run.mirror),
        validate=lambda network: _measure(predict_stills(network, transform, validation, loading=loading)),
    )


def _open_still_clips(
    config: StageConfig, run: RunConfig, transform: ClipTransform, *, data: Path, loading: Loading
) -> Stage:
    parts = [(part, _read_soft(part, data / part.path)) for part in config.soft_stills]
    drawn = np.concatenate([np.full(len(stills), part.weight) for part, stills in parts])
    train = [still for _, stills in parts for still in stills]
    weights = balancing_weights(train, power=config.balance) * drawn
    unseen = [
        still
        for part in config.soft_stills
        if part.layout == "votes"
        for still in read_votes(data / part.path, split=Split.VALIDATION)
    ]
    if not unseen:
        raise ConfigError(f"stage {config.name}: expected a set with votes to validate on, got none")
    clips = StillClipViews(train, weights / weights.sum(), transform, frames=config.frames, seed=run.seed)
    if config.frames == 1:
        validation = [Still(still.tree, still.name, int(still.target.argmax())) for still in unseen]
        return Stage(
            config=config,
            clips=clips,
            validate=lambda network: _measure(predict_stills(network, transform, validation, loading=loading)),
        )
    # Stills as such say nothing of how a network sees change: clips of them are validated on clips.
    even = np.full(len(unseen), 1 / len(unseen))
    made = StillClipViews(unseen, even, transform, frames=config.frames, seed=run.seed)
    return Stage(
        config=config,
        clips=clips,
        validate=lambda network: _measure(predict_made_clips(network, made, range(VALIDATION_CLIPS), loading=loading)),
    )


def _read_soft(part: SoftStillsData, root: Path) -> list[SoftStill]:
    if part.layout == "votes":
        stills = read_votes(root, split=Split.TRAIN)
    elif part.layout == "pseudo":
        stills = read_pseudo_labels(root)
    else:
        stills = read_weak_labels(root, confidence=part.confidence)
    return [replace(still, soften=part.soften) for still in stills]


def _read(part: StillsData, split: Split, data: Path) -> list[Still]:
    if part.layout is not Layout.CLASS_FOLDERS or split is Split.TRAIN:
        return read_stills(data / part.path, part.layout, split=split)
    return read_stills(data / part.validation_path, part.layout, split=split) if part.validation_path else []


def _measure(predictions: Predictions) -> Metrics:
    return compute_metrics(predictions.labels, softmax(predictions.logits), bootstrap=0)
