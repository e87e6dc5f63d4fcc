"""Parquet: the table of CSV with types, provenance in the file's key-value metadata; read by pandas, Polars, DuckDB.

pyarrow is imported when the first Parquet file is asked for: the API starts without it, and without NumPy.
"""

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from app.exports.head import ResultHead
from app.exports.pieces import iter_pieces
from app.exports.table import COLUMNS, FRAME_COLUMNS, Cell, iter_cells
from worker.contract import FrameRow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["METADATA_KEY", "iter_parquet"]

METADATA_KEY = "emoclip"
"""Key of the head, as JSON, in the file's metadata."""
_LINES_A_GROUP = 16_384
"""Of one row group, the part of the file that is in memory while it is written: some megabytes."""
_COLUMN_TYPES = {"frame": "int64", "track": "int32", "emotion": "string"}
"""All others are float64: so that the numbers are those of the other formats, digit for digit."""


def iter_parquet(head: ResultHead, rows: Iterable[FrameRow]) -> Iterator[bytes]:
    """Yield a Parquet file (zstd), one row group after another."""
    import pyarrow.parquet as pq

    schema = _create_schema(head)
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batches in _iter_groups(schema, rows):
            writer.write_table(batches)
            yield sink.take()
    yield sink.take()


def _create_schema(head: ResultHead) -> "pa.Schema":
    import pyarrow as pa

    fields = [
        pa.field(name, pa.type_for_alias(_COLUMN_TYPES.get(name, "float64")), nullable=name not in FRAME_COLUMNS)
        for name in COLUMNS
    ]
    return pa.schema(fields, metadata={METADATA_KEY: head.model_dump_json()})


def _iter_groups(schema: "pa.Schema", rows: Iterable[FrameRow]) -> Iterator["pa.Table"]:
    import pyarrow as pa

    group: list[pa.RecordBatch] = []
    for piece in iter_pieces(rows):
        lines = [cells for row in piece for cells in iter_cells(row)]
        group.append(_create_batch(schema, lines))
        if sum(batch.num_rows for batch in group) >= _LINES_A_GROUP:
            yield pa.Table.from_batches(group, schema)
            group = []
    if group:
        yield pa.Table.from_batches(group, schema)


def _create_batch(schema: "pa.Schema", lines: list[list[Cell]]) -> "pa.RecordBatch":
    import pyarrow as pa

    columns = zip(*lines, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _Sink(io.RawIOBase):
    """A file that hands on what was written to it and keeps nothing but the position."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Say that one can write."""
        return True

    def tell(self) -> int:
        """Return how much has been written, whether taken or not."""
        return self._position

    def write(self, content: "memoryview | bytes") -> int:  # type: ignore[override]  # the base takes any buffer
        """Take all of `content`."""
        part = bytes(content)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        content = b"".join(self._parts)
        self._parts.clear()
        return content
