"""A proxy in front of a real server, whose first connections go wrong in chosen ways."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from urllib.parse import urlsplit

_PIECE_BYTES = 65536


class Fault(Enum):
    """What goes wrong with one connection."""

    HANG_UP = auto()
    """It is closed at once."""
    LOSE_ANSWER = auto()
    """The server takes the request whole and answers; the client hears nothing of it."""
    CUT_ANSWER = auto()
    """The answer breaks off after its beginning, which is more than its headers."""
    UNAVAILABLE = auto()
    """A proxy on the way says 503, and when to come again."""


_CUT_BYTES = 1200
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, url: str, faults: Sequence[Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(url)
        self.upstream = (parts.hostname, parts.port)
        self.faults = list(faults)


class _Connection(socketserver.BaseRequestHandler):
    server: _Proxy
    request: socket.socket

    def handle(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault is Fault.HANG_UP:
            return
        if fault is Fault.UNAVAILABLE:
            self.request.recv(_PIECE_BYTES)
            self.request.sendall(_UNAVAILABLE)
            return
        with socket.create_connection(self.server.upstream) as upstream:
            threading.Thread(target=_copy, args=(self.request, upstream), daemon=True).start()
            if fault is Fault.LOSE_ANSWER:
                upstream.recv(1)
                return
            _copy(upstream, self.request, limit=_CUT_BYTES if fault is Fault.CUT_ANSWER else None)


def _copy(source: socket.socket, target: socket.socket, *, limit: int | None = None) -> None:
    copied = 0
    with contextlib.suppress(OSError):
        while (limit is None or copied < limit) and (data := source.recv(_PIECE_BYTES)):
            piece = data if limit is None else data[: limit - copied]
            target.sendall(piece)
            copied += len(piece)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def run_faulty_proxy(url: str, *faults: Fault) -> Iterator[str]:
    """Stand before a server; each fault befalls one connection, in order, then all goes well."""
    with _Proxy(url, faults) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
            assert not proxy.faults, f"did not happen: {proxy.faults}"
        finally:
            proxy.shutdown()
            thread.join()
