"""The whole service in one command: a real redis-server, worker processes and the API, each a child of this process.

Children are started in that order and stopped in the reverse one. One that ends by itself is started again, as systemd
or Docker would do it; one that keeps ending ends the service with a sentence and the last lines of its log.
"""

import contextlib
import fcntl
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from app.processes import start_process, stop_process, tail_text
from app.redis_server import RedisServer, RedisServerError, find_free_port

__all__ = ["EmbeddedServiceError", "Service", "run_service"]

_READY_SECONDS = 240.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 15.0
"""Longer than the API waits for uploads that it cuts off at its end."""
_MAX_STARTS, _MAX_STARTS_SECONDS = 5, 60.0


class EmbeddedServiceError(Exception):
    """The service cannot start or go on; the message is for the person at the terminal."""


@dataclass(slots=True)
class _Child:
    """One program of the service, and the processes it has had."""

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: list[float] = field(default_factory=list)
    """When, on the monotonic clock, its processes were started."""

    def ensure_running(self) -> None:
        """Start the program unless it runs.

        Raises:
            EmbeddedServiceError: It has ended too often.
        """
        if self.process is not None:
            if self.process.poll() is None:
                return
            stop_process(self.process, grace_seconds=0)  # what it left behind in its group
        now = time.monotonic()
        self.started = [*(moment for moment in self.started if now - moment < _MAX_STARTS_SECONDS), now]
        if len(self.started) > _MAX_STARTS:
            raise EmbeddedServiceError(
                f"{self.name} ended {_MAX_STARTS} times within {_MAX_STARTS_SECONDS:.0f} s; "
                f"the last lines of its log:\n{tail_text(self.log)}"
            )
        self.process = self.start()

    def stop(self) -> None:
        """Stop the program and all that it started."""
        if self.process is not None:
            stop_process(self.process, grace_seconds=_STOP_SECONDS)


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    url: str
    log_directory: Path
    children: tuple[_Child, ...] = field(repr=False)

    @property
    def process_ids(self) -> dict[str, int]:
        """Process number of each child, by name: redis, worker-1, ..., api."""
        return {child.name: child.process.pid for child in self.children if child.process is not None}

    def ensure_running(self) -> None:
        """Start again what has ended; to be called now and then.

        Raises:
            EmbeddedServiceError: A child keeps ending.
        """
        for child in self.children:
            child.ensure_running()

    def wait_until_ready(self) -> None:
        """Return when the API reaches Redis and has heard from a worker.

        Raises:
            EmbeddedServiceError: That did not happen in time.
        """
        deadline = time.monotonic() + _READY_SECONDS
        answer = "no answer"
        with httpx.Client(base_url=self.url, timeout=5, trust_env=False) as client:
            while time.monotonic() < deadline:
                self.ensure_running()
                try:
                    response = client.get("/readyz")
                except httpx.TransportError as error:
                    answer = str(error)
                else:
                    if response.is_success:
                        return
                    answer = response.text
                time.sleep(_POLL_SECONDS)
        logs = "\n".join(f"--- {child.name}\n{tail_text(child.log, lines=5)}" for child in self.children)
        raise EmbeddedServiceError(f"the service was not ready after {_READY_SECONDS:.0f} s ({answer}):\n{logs}")


@contextlib.contextmanager
def run_service(
    directory: Path, *, host: str = "127.0.0.1", port: int | None = None, workers: int = 1
) -> Iterator[Service]:
    """Run the service until the context ends; yields it when it is ready. Call from the main thread.

    Args:
        directory: Existing directory for Redis' data, uploads and logs; a service started in it again finds its jobs.
        host: Address that the API listens on.
        port: Its port; None chooses a free one.
        workers: Worker processes.

    Raises:
        EmbeddedServiceError: The service cannot start or go on.
    """
    if port is None:
        port = find_free_port()
    elif not _is_free(host, port):
        raise EmbeddedServiceError(f"port {port} on {host} is in use; choose another one with --port")
    logs = directory / "logs"
    try:
        logs.mkdir(exist_ok=True)
    except OSError as error:
        raise EmbeddedServiceError(f"{logs} cannot be a folder for logs: {error.strerror}") from error
    redis = RedisServer(directory, append_only=True)
    environment = {"EMOCLIP_REDIS_URL": redis.url, "EMOCLIP_MEDIA_DIR": str(directory / "media")}

    def create_child(name: str, *arguments: str) -> _Child:
        # -P: a folder named app in the current directory is not ours
        command = [sys.executable, "-P", "-m", "app.cli", *arguments]
        log = logs / f"{name}.log"
        return _Child(name, lambda: start_process(command, log=log, environment=environment), log)

    children = (
        _Child("redis", redis.start, redis.log),
        *(create_child(f"worker-{number}", "worker") for number in range(1, workers + 1)),
        create_child("api", "api", "--host", host, "--port", str(port)),
    )
    service = Service(f"http://{_url_host(host)}:{port}", logs, children)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(directory))
        try:
            for child in children:
                stack.callback(child.stop)
                child.ensure_running()
            service.wait_until_ready()
            yield service
        except RedisServerError as error:
            raise EmbeddedServiceError(str(error)) from error


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Keep a second service out of the directory: two servers that write one append-only file destroy it."""
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EmbeddedServiceError(f"another service is running in {directory}") from error
        yield


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=_family(host)):
            return True
    except OSError:
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _url_host(host: str) -> str:
    """Return how a client on this machine addresses a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"[{host}]" if ":" in host else host
