"""Scalars of a run for TensorBoard, the field's viewer of training curves."""

from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter


class ScalarLog:
    """Writes scalars to a folder; without a folder it writes nothing (every process but the first)."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = SummaryWriter(folder) if folder is not None else None

    def add_scalar(self, name: str, value: float, iteration: int) -> None:
        """Add one point of a curve."""
        if self._writer is not None:
            self._writer.add_scalar(name, value, iteration)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
