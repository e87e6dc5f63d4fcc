"""JSON: one object with the head's fields and all rows; and the head alone, as the file beside CSV and SRT."""

from collections.abc import Iterable, Iterator

from pydantic import TypeAdapter

from app.exports.head import ResultHead
from app.exports.pieces import iter_pieces
from worker.contract import FrameRow

__all__ = ["iter_head_json", "iter_json"]

_ROW_LIST: TypeAdapter[list[FrameRow]] = TypeAdapter(list[FrameRow])


def iter_json(head: ResultHead, rows: Iterable[FrameRow]) -> Iterator[bytes]:
    """Yield one JSON object: the head's fields and `rows`, as the API returns them."""
    opened = head.model_dump_json().removesuffix("}")
    yield f'{opened},"rows":['.encode()
    separator = b"\n"  # a line break between pieces keeps lines bearable for editors
    for piece in iter_pieces(rows):
        yield separator + _ROW_LIST.dump_json(piece)[1:-1]
        separator = b",\n"
    yield b"\n]}\n"


def iter_head_json(head: ResultHead) -> Iterator[bytes]:
    """Yield the head as one JSON object."""
    yield head.model_dump_json(indent=2).encode() + b"\n"
