"""Parquet exports: the table and its provenance, read back by pyarrow and pandas; row groups."""

import io
import json
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.exports.head import ResultHead
from app.exports.parquet import METADATA_KEY, iter_parquet
from app.exports.table import COLUMNS, iter_cells
from model.labels import Emotion
from tests.app.results import create_head
from tests.app.rows import create_face, create_rows
from worker.contract import FrameRow

HEAD = create_head()


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """The third frame without a face, the fourth with two."""
    faces = [[create_face(1, Emotion.SADNESS)] for _ in range(1200)]
    return create_rows([*faces[:2], [], [create_face(1), create_face(2)], *faces[4:]])


def write(rows: list[FrameRow]) -> bytes:
    return b"".join(iter_parquet(HEAD, rows))


def test_iter_parquet_holds_the_lines_of_the_table(rows: list[FrameRow]) -> None:
    table = pq.read_table(io.BytesIO(write(rows)))

    expected = [dict(zip(COLUMNS, cells, strict=True)) for row in rows for cells in iter_cells(row)]
    assert table.to_pylist() == expected


def test_iter_parquet_round_trips_through_pandas(rows: list[FrameRow]) -> None:
    table = pd.read_parquet(io.BytesIO(write(rows)))

    assert len(table) == 1201
    assert table["track"].isna().sum() == 1
    assert table[table["track"] == 2]["emotion"].tolist() == ["happiness"]
    assert table["pts_seconds"].is_monotonic_increasing


def test_iter_parquet_carries_the_provenance_in_the_metadata(rows: list[FrameRow]) -> None:
    metadata = pq.read_metadata(io.BytesIO(write(rows))).metadata

    assert ResultHead.model_validate_json(metadata[METADATA_KEY.encode()]) == HEAD
    assert json.loads(metadata[METADATA_KEY.encode()])["model"]["labels"] == [emotion.value for emotion in Emotion]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_schema_does_not_depend_on_the_rows(count: int) -> None:
    schema = pq.read_schema(io.BytesIO(write(create_rows([[]] * count))))

    assert tuple(schema.names) == COLUMNS
    assert [(field.name, field.type) for field in schema if field.type != pa.float64()] == [
        ("frame", pa.int64()),
        ("track", pa.int32()),
        ("emotion", pa.string()),
    ]
    assert [field.name for field in schema if not field.nullable] == ["frame", "pts_seconds"]


def test_iter_parquet_writes_row_groups_as_it_reads() -> None:
    read = 0

    def many_rows() -> Iterator[FrameRow]:
        nonlocal read
        for row in create_rows([[create_face(1)]] * 40_000):
            read += 1
            yield row

    pieces = iter_parquet(HEAD, many_rows())
    first = next(pieces)

    assert read < 17_000
    content = first + b"".join(pieces)
    groups = pq.ParquetFile(io.BytesIO(content)).metadata
    assert groups.num_rows == 40_000
    assert groups.num_row_groups == 3
