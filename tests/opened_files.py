"""Which files of a folder anybody on this machine opens, as the kernel tells it (inotify, Linux)."""

import ctypes
import os
import struct
from pathlib import Path
from types import TracebackType

_IN_OPEN = 0x20
_IN_ISDIR = 0x4000_0000
_EVENT = struct.Struct("iIII")


class OpenedFiles:
    """Notes the names of the files in one folder that are opened inside the context."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0 or libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), f"{folder} cannot be watched")

    def __enter__(self) -> "OpenedFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def take(self) -> set[str]:
        """Return the names noted since the last call."""
        names = set()
        while content := self._read():
            while content:
                _, mask, _, length = _EVENT.unpack_from(content)
                end = _EVENT.size + length
                if not mask & _IN_ISDIR:
                    names.add(content[_EVENT.size : end].rstrip(b"\0").decode())
                content = content[end:]
        return names

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return b""
