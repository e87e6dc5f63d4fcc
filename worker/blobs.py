"""How plans and rows lie in Redis: JSON of a pydantic type, compressed with zlib."""

import zlib
from collections.abc import Sequence
from typing import TypeVar

from pydantic import TypeAdapter

from worker.contract import Contract, FrameRow

__all__ = ["ROWS_PER_BLOB", "pack", "pack_rows", "unpack", "unpack_rows"]

ROWS_PER_BLOB = 256
"""Rows that are read together; a page of rows costs at most one blob more than it needs."""

C = TypeVar("C", bound=Contract)
_ROWS: TypeAdapter[tuple[FrameRow, ...]] = TypeAdapter(tuple[FrameRow, ...])


def pack(message: Contract) -> bytes:
    """Compress one message."""
    return zlib.compress(message.model_dump_json().encode())


def unpack(kind: type[C], blob: bytes) -> C:
    """Return the message that `pack` compressed."""
    return kind.model_validate_json(zlib.decompress(blob))


def pack_rows(rows: Sequence[FrameRow]) -> bytes:
    """Compress rows."""
    return zlib.compress(_ROWS.dump_json(tuple(rows)))


def unpack_rows(blob: bytes) -> tuple[FrameRow, ...]:
    """Return the rows that `pack_rows` compressed."""
    return _ROWS.validate_json(zlib.decompress(blob))
