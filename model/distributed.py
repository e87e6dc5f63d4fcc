"""Several training processes, one a GPU, as `torchrun` starts them; a single process needs none of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

VALIDATION_PATIENCE = timedelta(hours=2)
"""The first process validates alone; the others wait for it so long."""


@dataclass(frozen=True, slots=True)
class ProcessPlace:
    """Which of the processes this one is."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that validates, saves and talks."""
        return self.rank == 0

    def share(self, batch: range) -> list[int]:
        """Return this process's part of a batch; together the parts are the batch, whatever the count."""
        return list(batch)[self.rank :: self.count]


@contextmanager
def joined_processes(device: torch.device) -> Iterator[ProcessPlace]:
    """Join the processes that torchrun started (NCCL on CUDA, gloo on CPU), and leave them at the end."""
    if "WORLD_SIZE" not in os.environ:
        yield ProcessPlace()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=VALIDATION_PATIENCE)
    try:
        yield ProcessPlace(rank=dist.get_rank(), count=dist.get_world_size())
    finally:
        dist.destroy_process_group()


def wait_for_all(place: ProcessPlace) -> None:
    """Return when every process has come here."""
    if place.count > 1:
        dist.barrier()
