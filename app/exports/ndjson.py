"""NDJSON: one JSON object a line, each with its `type`: the `head` first, then a `row` each, and `end` at last.

A stream that breaks off, unlike a whole JSON document, can still be parsed: so the last line says how many rows there
were, and a file without it is not complete.
"""

from collections.abc import Iterable, Iterator

from app.exports.head import ResultHead
from app.exports.pieces import iter_pieces
from worker.contract import FrameRow

__all__ = ["iter_ndjson"]


def iter_ndjson(head: ResultHead, rows: Iterable[FrameRow]) -> Iterator[bytes]:
    """Yield the head's line at once, then the rows as they are read."""
    yield _format_line("head", head.model_dump_json())
    count = 0
    for piece in iter_pieces(rows):
        count += len(piece)
        yield b"".join(_format_line("row", row.model_dump_json()) for row in piece)
    yield f'{{"type":"end","rows":{count}}}\n'.encode()


def _format_line(kind: str, json_object: str) -> bytes:
    return f'{{"type":"{kind}",{json_object[1:]}\n'.encode()
