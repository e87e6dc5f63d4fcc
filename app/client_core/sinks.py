"""Where a download goes: a file that appears when it is whole, a device or a pipe, or a stream."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.client_core.steps import Sink
from app.replacing import Replacement, plan_replacement

__all__ = ["open_sink"]


@contextmanager
def open_sink(target: str | os.PathLike[str] | BinaryIO) -> Iterator[Sink]:
    """Yield the sink of a path or an open binary stream; what is not whole at the end is removed."""
    if not isinstance(target, str | os.PathLike):
        yield _StreamSink(target)
        return
    path = Path(target)
    replacement = plan_replacement(path)
    sink = _DeviceSink(path) if replacement is None else _FileSink(replacement)
    try:
        yield sink
    finally:
        sink.discard()


class _FileSink:
    """A file that appears under its name when it is whole."""

    def __init__(self, replacement: Replacement) -> None:
        self._replacement = replacement
        self._file: BinaryIO | None = None

    def begin(self) -> None:
        """Start the file anew."""
        self.discard()
        self._file = self._replacement.part.open("wb")

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        assert self._file is not None, "begin comes first"
        self._file.write(piece)

    def commit(self) -> None:
        """Give the file its name."""
        assert self._file is not None, "begin comes first"
        self._file.close()
        self._replacement.commit()
        self._file = None

    def discard(self) -> None:
        """Remove what was not committed."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._replacement.discard()


class _StreamSink:
    """A stream, such as standard output: what is written stays written, so a body must not begin twice."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._has_begun = False

    def begin(self) -> None:
        """Refuse a second body.

        Raises:
            OSError: The first one was cut off after its beginning.
        """
        if self._has_begun:
            raise OSError("the connection broke while the result was written")

    def write(self, piece: bytes) -> None:
        """Write a piece."""
        self._has_begun = True
        self._stream.write(piece)

    def commit(self) -> None:
        """Hand on what is buffered."""
        self._stream.flush()


class _DeviceSink:
    """A device or a named pipe: a stream that is opened when there is something to write, for a pipe may block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._stream: _StreamSink | None = None

    def begin(self) -> None:
        """Open it, or refuse a second body as a stream does."""
        if self._stream is None:
            self._file = self._path.open("wb")
            self._stream = _StreamSink(self._file)
        self._stream.begin()

    def write(self, piece: bytes) -> None:
        """Write a piece."""
        assert self._stream is not None, "begin comes first"
        self._stream.write(piece)

    def commit(self) -> None:
        """Hand on what is buffered."""
        assert self._stream is not None, "begin comes first"
        self._stream.commit()

    def discard(self) -> None:
        """Close it."""
        if self._file is not None:
            self._file.close()
