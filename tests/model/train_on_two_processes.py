"""Run by torchrun in a test: trains with this process's share of each batch, then writes its copy of the weights."""

import sys
from pathlib import Path

import torch
from rich.console import Console

from model.distributed import joined_processes
from model.run_config import load_run
from model.train import create_trainer
from model.training import Surroundings


def main(config: Path, data: Path, out: Path) -> None:
    """Train and write `rank<k>.pt`."""
    cpu = torch.device("cpu")
    with joined_processes(cpu) as place:
        around = Surroundings(out=out, device=cpu, place=place, console=Console(quiet=True))
        trainer = create_trainer(load_run(config), around, data=data)
        assert trainer.run()
        torch.save(dict(trainer.network.named_parameters()), out / f"rank{place.rank}.pt")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
