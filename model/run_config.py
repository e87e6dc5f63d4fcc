"""A training run as a TOML file (model/configs/): network, transform, one or several stages; checked before any work.

Unknown keys, wrong types and values out of range end in a ConfigError that names the file and the key.
"""

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from model.datasets import Layout
from model.errors import ConfigError
from model.labels import CLIP_FRAMES, EMOTIONS
from model.network import EmotionNetConfig
from model.soft_stills import SoftLayout
from model.transforms import ClipTransformConfig


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """How the weights move."""

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    """Of SGD; AdamW keeps its own."""
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    """`cosine` falls to zero over the stage's iterations."""
    warmup_iterations: int = 0
    """Iterations over which the rate rises linearly to its value."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.learning_rate > 0:
            raise ValueError(f"expected learning_rate > 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"expected momentum in 0..1, got {self.momentum}")

    def rate_at(self, iteration: int, *, iterations: int) -> float:
        """Return the learning rate of one iteration, counted from 0."""
        rate = self.learning_rate * min(1.0, (iteration + 1) / max(1, self.warmup_iterations))
        if self.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * iteration / iterations))
        return rate


@dataclass(frozen=True, slots=True)
class StillsData:
    """One labelled set of stills."""

    layout: Layout
    path: str
    """Folder or zip file, relative to the data folder."""
    validation_path: str = ""
    """Of class folders, which have no split of their own: what validates; the other layouts know it."""


@dataclass(frozen=True, slots=True)
class SoftStillsData:
    """One set of aligned stills with shares of the classes as targets."""

    layout: SoftLayout
    """`votes` has a split and validates; `weak` and `pseudo` are for training alone."""
    path: str
    """What `worker.extract --stills` wrote, relative to the data folder."""
    confidence: float = 0.7
    """Share that a weak label gets, above 1/7 and up to 1."""
    weight: float = 1.0
    """How often its stills are drawn against the others."""
    soften: bool = True
    """Whether its views may be blurred and reduced; without, sharp photos stay sharp."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 / len(EMOTIONS) < self.confidence <= 1:
            raise ValueError(f"expected confidence in 1/7..1, got {self.confidence}")
        if not self.weight > 0:
            raise ValueError(f"expected weight > 0, got {self.weight}")


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stretch of training on one kind of data; the next stage starts from its best weights."""

    name: str
    kind: Literal["stills", "affwild2", "still_clips"]
    """`still_clips` makes varied views and clips out of stills with soft targets."""
    iterations: int
    batch_clips: int
    """Clips in a batch over all processes together; a still is a clip of one frame."""
    path: str = ""
    """Of Aff-Wild2's tree, relative to the data folder."""
    stills: tuple[StillsData, ...] = ()
    """Sets that are trained on together, and validated on together."""
    soft_stills: tuple[SoftStillsData, ...] = ()
    """The same for `still_clips`."""
    frames: int = 1
    """Of a clip of `still_clips`: one, which stands for eight equal ones, or up to eight."""
    balance: float = 0.0
    """How far `still_clips` draws rare classes more often: their frequency to the power of -balance, 0..1."""
    freeze_backbone: bool = False
    """Whether only BLSTM and classifiers learn."""
    checkpoint_every: int = 1000
    """Iterations between validations; each time the state is saved, and the weights if S on validation is the best."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.iterations, self.batch_clips, self.checkpoint_every) < 1:
            raise ValueError("expected iterations, batch_clips and checkpoint_every >= 1")
        sources = {"stills": self.stills, "affwild2": self.path, "still_clips": self.soft_stills}
        if [kind for kind, source in sources.items() if source] != [self.kind]:
            raise ValueError("expected `stills`, `path` or `soft_stills` alone, as the stage's kind wants it")
        if not 1 <= self.frames <= CLIP_FRAMES:
            raise ValueError(f"expected frames in 1..{CLIP_FRAMES}, got {self.frames}")

    @property
    def repeat(self) -> int:
        """How often the network sees a clip's features: single views of `still_clips` stand for whole clips."""
        return CLIP_FRAMES if self.kind == "still_clips" and self.frames == 1 else 1


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that decides a run's outcome, given the data."""

    name: str
    network: EmotionNetConfig
    transform: ClipTransformConfig
    stages: tuple[StageConfig, ...]
    seed: int = 2020
    precision: Literal["fp32", "bf16"] = "fp32"
    """`bf16` autocasts the forward pass; weights and optimizer stay in float32."""
    mirror: bool = True
    """Whether half of the clips are mirrored, left for right, all frames of a clip alike."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.stages:
            raise ValueError("expected at least one stage")


def load_run(path: Path) -> RunConfig:
    """Read a run's TOML file.

    Raises:
        ConfigError: It is missing, no TOML, or asks for something unknown or impossible.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(RunConfig).validate_python(table)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'run'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {places}") from error
