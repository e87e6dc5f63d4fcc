"""Rows by the handful, as they are written: the result of a long video never stands in memory as a whole."""

from collections.abc import Iterable, Iterator
from itertools import islice

from worker.contract import FrameRow

__all__ = ["iter_pieces"]

ROWS_A_PIECE = 500


def iter_pieces(rows: Iterable[FrameRow], *, size: int = ROWS_A_PIECE) -> Iterator[list[FrameRow]]:
    """Yield all rows in lists of `size`, the last one maybe shorter, none empty."""
    remaining = iter(rows)
    while piece := list(islice(remaining, size)):
        yield piece
