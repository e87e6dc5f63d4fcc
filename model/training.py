"""The training loop: iterations, validation, the best weights, and a state from which a run continues identically.

The clips of an iteration, its learning rate and its random numbers are functions of the seed and the iteration;
weights, optimizer and the best score are in the state file. So a run that was stopped and resumed is bit for bit the
run that was not, on the same hardware and with the same number of processes.
"""

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from model.clip_datasets import TrainingClip
from model.distributed import ProcessPlace, wait_for_all
from model.errors import CheckpointError
from model.metrics import Metrics
from model.network import EmotionNet
from model.run_config import OptimizerConfig, StageConfig
from model.scalar_log import ScalarLog

STATE_FILE = "state.pt"
CURVE_FILE = "curve.json"
NOT_VALIDATED = -1.0
"""Stands for the best S before the first validation: any S is better."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, its data read."""

    config: StageConfig
    clips: Dataset[TrainingClip]
    validate: Callable[[EmotionNet], Metrics]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where and how a run computes; none of it decides what is learned, precision and process count apart."""

    out: Path
    device: torch.device
    place: ProcessPlace
    console: Console
    precision: Literal["fp32", "bf16"] = "fp32"
    loader_workers: int = 0
    stop_after: int | None = None
    """Iterations after which this process ends, its state saved, as if it had been stopped; None: at the end."""


@dataclass(slots=True)
class RunState:
    """How far a run has come."""

    stage: int = 0
    iteration: int = 0
    """Iterations done in the stage."""
    best_s: float = NOT_VALIDATED
    """Best S on validation in the stage."""
    loss_sum: float = 0.0
    """Over the iterations since the last validation, `loss_count` of them."""
    loss_count: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)  # Any: rows of JSON
    """One row a validation: stage, iteration, loss, s, accuracy, macro_f1, clips_per_second."""


class Trainer:
    """Trains a network through its stages; every file it writes is whole or absent, so it may be killed at any time."""

    def __init__(
        self,
        network: EmotionNet,
        stages: list[Stage],
        surroundings: Surroundings,
        *,
        seed: int,
        fingerprint: str,
        save_weights: Callable[[EmotionNet, RunState, Metrics], None],
    ) -> None:
        """Prepare the first stage.

        Args:
            network: Trained in place.
            stages: In order; each but the first starts from the best weights of the one before.
            surroundings: Where it runs.
            seed: Decides clips, dropout and the order of stills.
            fingerprint: Of the configuration: a state of another configuration is not resumed.
            save_weights: Writes the weights as a checkpoint; called when S on validation is the best of the stage.
        """
        self.network = network.to(surroundings.device)
        self.state = RunState()
        self._stages = stages
        self._around = surroundings
        self._seed = seed
        self._fingerprint = fingerprint
        self._save_weights = save_weights
        self._optimizer = create_optimizer(network, stages[0].config.optimizer)
        self._best_weights: dict[str, Tensor] | None = None
        self._budget = surroundings.stop_after

    def resume(self) -> None:
        """Go on from the saved state.

        Raises:
            CheckpointError: There is none, or it belongs to another configuration.
        """
        path = self._around.out / STATE_FILE
        if not path.exists():
            raise CheckpointError(f"{path}: expected the state of a stopped run, got nothing there")
        saved = torch.load(path, map_location=self._around.device, weights_only=True)
        if saved["fingerprint"] != self._fingerprint:
            raise CheckpointError(f"{path}: expected the state of this configuration, got that of another")
        self.state = RunState(**saved["progress"])
        self.network.load_state_dict(saved["network"])
        self._best_weights = saved["best_weights"]
        self._optimizer = create_optimizer(self.network, self._stages[self.state.stage].config.optimizer)
        self._optimizer.load_state_dict(saved["optimizer"])

    def run(self) -> bool:
        """Train to the end of the last stage; returns whether it came there (see Surroundings.stop_after)."""
        with ScalarLog(self._around.out / "tensorboard" if self._around.place.is_first else None) as board:
            while self.state.stage < len(self._stages):
                if not self._run_stage(self._stages[self.state.stage], board):
                    return False
                self._begin_next_stage()
        return True

    def _run_stage(self, stage: Stage, board: ScalarLog) -> bool:
        config, state, place = stage.config, self.state, self._around.place
        forward: nn.Module = self.network
        if place.count > 1:
            forward = DistributedDataParallel(self.network)
        self._enter_training(config)
        since, since_iteration = time.monotonic(), state.iteration
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bar = Progress(
            *columns, TextColumn("{task.fields[note]}"), console=self._around.console, disable=not place.is_first
        )
        with bar as progress:
            task = progress.add_task(config.name, total=config.iterations, completed=state.iteration, note="")
            for clips, labels in self._batches(stage):
                loss = self._step(forward, clips, labels, config)
                state.iteration += 1
                state.loss_sum, state.loss_count = state.loss_sum + loss, state.loss_count + 1
                rate = self._optimizer.param_groups[0]["lr"]
                board.add_scalar(f"{config.name}/loss", loss, state.iteration)
                board.add_scalar(f"{config.name}/learning_rate", rate, state.iteration)
                progress.update(task, advance=1, note=f"loss {state.loss_sum / state.loss_count:.3f}")
                at_border = state.iteration % config.checkpoint_every == 0 or state.iteration == config.iterations
                if at_border:
                    seconds = time.monotonic() - since
                    speed = (state.iteration - since_iteration) * config.batch_clips / seconds
                    self._validate(stage, board, clips_per_second=speed)
                    self._enter_training(config)
                    self._save_state()
                    since, since_iteration = time.monotonic(), state.iteration
                if self._budget is not None:
                    self._budget -= 1
                    if self._budget == 0:
                        if not at_border:
                            self._save_state()
                        return False
        return True

    def _enter_training(self, config: StageConfig) -> None:
        """A frozen backbone keeps its weights and its BatchNorm statistics."""
        self.network.train()
        self.network.backbone.train(not config.freeze_backbone)
        self.network.backbone.requires_grad_(not config.freeze_backbone)

    def _step(self, forward: nn.Module, clips: Tensor, labels: Tensor, config: StageConfig) -> float:
        device, state = self._around.device, self.state
        # dropout draws from these: a function of the place in the run, hence nothing to save
        place_in_run = (self._seed, state.stage, state.iteration, self._around.place.rank)
        torch.manual_seed(int(np.random.SeedSequence(place_in_run).generate_state(1, np.uint64)[0] >> 1))
        for group in self._optimizer.param_groups:
            group["lr"] = config.optimizer.rate_at(state.iteration, iterations=config.iterations)
        clips, labels = clips.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._around.precision == "bf16"):
            logits = forward(clips, repeat=config.repeat)
        if config.repeat > 1:
            labels = labels.expand(-1, config.repeat, *labels.shape[2:])
        loss = cross_entropy(logits.float().flatten(0, 1), labels.flatten(0, 1))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def _batches(self, stage: Stage) -> Iterator[TrainingClip]:
        config, place = stage.config, self._around.place
        numbers = [
            place.share(range(i * config.batch_clips, (i + 1) * config.batch_clips))
            for i in range(self.state.iteration, config.iterations)
        ]
        return iter(
            DataLoader(
                stage.clips,
                batch_sampler=numbers,
                num_workers=self._around.loader_workers,
                pin_memory=self._around.device.type == "cuda",
                # its own generator: the loader would otherwise draw from the global one, once each start
                generator=torch.Generator(),
            )
        )

    def _validate(self, stage: Stage, board: ScalarLog, *, clips_per_second: float) -> None:
        state = self.state
        loss = state.loss_sum / max(1, state.loss_count)
        state.loss_sum, state.loss_count = 0.0, 0
        if self._around.place.is_first:
            metrics = stage.validate(self.network)
            row = {"loss": loss, "s": metrics.s, "accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
            for key, value in (row | {"clips_per_second": clips_per_second}).items():
                board.add_scalar(f"{stage.config.name}/validation/{key}", value, state.iteration)
            state.curve.append(
                {"stage": stage.config.name, "iteration": state.iteration}
                | {key: round(value, 5) for key, value in row.items()}
                | {"clips_per_second": round(clips_per_second, 1)}
            )
            write_whole(self._around.out / CURVE_FILE, json.dumps(state.curve, indent=1).encode())
            if metrics.s > state.best_s:
                state.best_s = metrics.s
                self._best_weights = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}
                self._save_weights(self.network, state, metrics)
            self._around.console.print(
                f"{stage.config.name} {state.iteration}: loss {loss:.3f}, S {metrics.s:.3f} (best {state.best_s:.3f}), "
                f"{clips_per_second:.1f} clips a second"
            )
        wait_for_all(self._around.place)

    def _begin_next_stage(self) -> None:
        """Move to the next stage: it starts from the best weights of this one, with an optimizer of its own."""
        self.state.stage += 1
        if self.state.stage == len(self._stages):
            return
        if self._best_weights is not None:
            self.network.load_state_dict(self._best_weights)  # the other processes get them when DDP starts
        self.state.iteration, self.state.best_s, self._best_weights = 0, NOT_VALIDATED, None
        self._optimizer = create_optimizer(self.network, self._stages[self.state.stage].config.optimizer)

    def _save_state(self) -> None:
        if self._around.place.is_first:
            self._around.out.mkdir(parents=True, exist_ok=True)
            saved = io.BytesIO()
            torch.save(
                {
                    "fingerprint": self._fingerprint,
                    "progress": asdict(self.state),
                    "network": self.network.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    "best_weights": self._best_weights,
                },
                saved,
            )
            write_whole(self._around.out / STATE_FILE, saved.getvalue())
        wait_for_all(self._around.place)


def create_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer; biases, normalisation and other vectors are not decayed."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either whole or as it was before, whenever the process is killed."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
