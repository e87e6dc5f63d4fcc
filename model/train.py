"""Trains a run: `python -m model.train model/configs/affwild2.toml --data DIR [--out DIR] [--resume]`.

On several GPUs: `torchrun --nproc-per-node 4 -m model.train ...`, with the same arguments. Files in the output folder:
`best.safetensors` (the best weights by S on validation), `state.pt` (to resume from), `curve.json`, `tensorboard/`.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from model.checkpoint import build_network, create_network, load_checkpoint, save_checkpoint
from model.distributed import joined_processes
from model.errors import ConfigError, ModelError
from model.hardware import choose_device, describe_hardware
from model.inference import Loading
from model.metrics import Metrics
from model.network import EmotionNet
from model.run_config import RunConfig, load_run
from model.stages import open_stage
from model.training import RunState, Surroundings, Trainer

BEST_FILE = "best.safetensors"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parse(argv)
    try:
        run = without_stages(load_run(arguments.config), arguments.skip_stage)
        device = choose_device(arguments.device)
        out = arguments.out or Path("runs") / run.name
        with joined_processes(device) as place:
            around = Surroundings(
                out=out,
                device=torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device,
                place=place,
                console=Console(quiet=not place.is_first),
                precision=run.precision,
                loader_workers=arguments.workers,
                stop_after=arguments.stop_after,
            )
            trainer = create_trainer(run, around, data=arguments.data, start_from=arguments.start_from)
            if arguments.resume:
                trainer.resume()
            finished = trainer.run()
            around.console.print(f"{'finished' if finished else 'stopped, go on with --resume'}: {out}")
    except (ModelError, ValueError) as error:
        print(f"emoclip train: {error}", file=sys.stderr)  # noqa: T201  # a command line's own error line
        return 2
    return 0


def create_trainer(run: RunConfig, around: Surroundings, *, data: Path, start_from: Path | None = None) -> Trainer:
    """Build the network and open the data of a run; its first weights are random, or those of a checkpoint.

    Raises:
        ModelError: The data or the configuration cannot be used.
    """
    for stage in run.stages:
        if stage.batch_clips % around.place.count:
            raise ConfigError(
                f"stage {stage.name}: expected batch_clips to be a multiple of the {around.place.count} processes, "
                f"got {stage.batch_clips}"
            )
    torch.manual_seed(run.seed)  # the first weights
    network = build_network(run.network)
    earlier = _take_weights(network, start_from) if start_from else {}
    around.out.mkdir(parents=True, exist_ok=True)
    loading = Loading(device=around.device, workers=around.loader_workers, precision=around.precision)

    def save_weights(network: EmotionNet, state: RunState, metrics: Metrics) -> None:
        save_checkpoint(
            around.out / BEST_FILE,
            network,
            transform=run.transform,
            temperature=1.0,
            name=run.name,
            metrics={
                "recipe": json.loads(canonical_json(run)),
                "hardware": describe_hardware(around.device) | {"processes": around.place.count},
                "curve": state.curve,
                "validation": metrics.to_json(),
                **earlier,
            },
        )

    return Trainer(
        network,
        [open_stage(stage, run, data=data, loading=loading) for stage in run.stages],
        around,
        seed=run.seed,
        fingerprint=hashlib.sha256((canonical_json(run) + json.dumps(earlier, sort_keys=True)).encode()).hexdigest(),
        save_weights=save_weights,
    )


def _take_weights(network: EmotionNet, path: Path) -> dict[str, Any]:  # Any: JSON
    """Load the weights of a checkpoint into the network; returns what the card shall say of it."""
    checkpoint = load_checkpoint(path)
    if checkpoint.config != network.config:
        raise ConfigError(f"{path}: expected weights of the configured network, got those of {checkpoint.config}")
    network.load_state_dict(create_network(checkpoint).state_dict())
    return {
        "started_from": {"name": checkpoint.name, "sha256": checkpoint.sha256, "training": dict(checkpoint.metrics)}
    }


def without_stages(run: RunConfig, names: Sequence[str]) -> RunConfig:
    """Return the run without some of its stages.

    Raises:
        ConfigError: There is no stage of that name, or none is left.
    """
    known = [stage.name for stage in run.stages]
    for name in names:
        if name not in known:
            raise ConfigError(f"--skip-stage: expected one of {', '.join(known)}, got {name!r}")
    left = tuple(stage for stage in run.stages if stage.name not in names)
    if not left:
        raise ConfigError("--skip-stage: expected a stage to be left, got none")
    return replace(run, stages=left)


def canonical_json(run: RunConfig) -> str:
    """Return the configuration as JSON, the same text for the same run."""
    return json.dumps(asdict(run), sort_keys=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model.train", description="Train a network.")
    parser.add_argument("config", type=Path, help="a TOML file of model/configs/")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="what the config's paths start from")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/<name of the run>")
    parser.add_argument("--resume", action="store_true", help="go on from the state saved in the output folder")
    parser.add_argument("--start-from", type=Path, metavar="WEIGHTS", help="first weights: those of a checkpoint")
    parser.add_argument("--skip-stage", action="append", default=[], metavar="NAME", help="leave out a stage")
    parser.add_argument("--stop-after", type=int, metavar="N", help="save the state and end after N iterations")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int, default=0, help="processes that read pictures; 0: this one")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
