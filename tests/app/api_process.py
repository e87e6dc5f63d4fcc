"""The API as a process of its own, which a test may kill, and a valve before it, which stops a client at a byte."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.processes import start_process, stop_process, tail_text
from app.redis_server import find_free_port
from worker.settings import QueueSettings

__all__ = ["ApiProcess", "Valve", "run_valve"]

_START_SECONDS = 120.0


@dataclass(slots=True)
class ApiProcess:
    """One API process after the other, on the same port and with the same uploads and Redis."""

    queue: QueueSettings
    log: Path
    within: Sequence[str] = ()
    """Command that runs the process, in front of its own."""
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and return when it answers."""
        environment = {
            "EMOCLIP_REDIS_URL": self.queue.redis_url,
            "EMOCLIP_MEDIA_DIR": str(self.queue.media_dir),
            "EMOCLIP_MIN_FREE_BYTES": "0",
        }
        command = [*self.within, sys.executable, "-m", "app.cli", "api", "--port", str(self.port)]
        self.process = start_process(command, log=self.log, environment=environment)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, tail_text(self.log)
            assert time.monotonic() < deadline, tail_text(self.log)
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it where it stands."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            stop_process(self.process, grace_seconds=10)

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.url + "/healthz", trust_env=False).is_success
        return False


class Valve:
    """Lets so many bytes of clients pass, all connections together, and holds the rest until it is opened."""

    def __init__(self, upstream_port: int, *, pass_bytes: int) -> None:
        self._upstream = ("127.0.0.1", upstream_port)
        self._left = pass_bytes
        self._open = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def open(self) -> None:
        """Let everything pass from now on."""
        self._open.set()

    def close(self) -> None:
        """Take no further connection, and wait until those that there are have ended."""
        self.open()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection(self._upstream, timeout=60)
            except OSError:
                return  # killed: the client sees its connection end
            with server:
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                self._pass_on(client, server)
                back.join()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                now, later = (data, b"") if self._open.is_set() else (data[: self._left], data[self._left :])
                self._left -= len(now)
                server.sendall(now)
                if later:
                    self._open.wait()
                    server.sendall(later)
            server.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def run_valve(upstream_port: int, *, pass_bytes: int) -> Iterator[Valve]:
    """Run a valve until the context ends."""
    valve = Valve(upstream_port, pass_bytes=pass_bytes)
    try:
        yield valve
    finally:
        valve.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):  # both ways: the other direction must not wait for what cannot come
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
