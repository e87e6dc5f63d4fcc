"""CSV: one line a face and frame.

Safe to open in a spreadsheet: every cell is a number or one of the seven labels. Nothing that a client chose, such as
the file's name, is in it, so no cell can begin a formula.
"""

import csv
import io
from collections.abc import Iterable, Iterator

from app.exports.pieces import iter_pieces
from app.exports.table import COLUMNS, Cell, iter_cells
from worker.contract import FrameRow

__all__ = ["iter_csv"]


def iter_csv(rows: Iterable[FrameRow]) -> Iterator[bytes]:
    """Yield CSV with a header line, ASCII, CRLF (RFC 4180).

    A frame without a face has one line, its face columns empty: so every analysed frame is there.
    """
    yield _format_lines([COLUMNS])
    for piece in iter_pieces(rows):
        yield _format_lines(cells for row in piece for cells in iter_cells(row))


def _format_lines(lines: Iterable[Iterable[Cell]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
