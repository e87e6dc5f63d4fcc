"""Real worker processes for tests: started, waited for, found in the process table, stopped."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import redis
from pydantic_settings import BaseSettings

from app.processes import start_process, stop_process, tail_text
from tests.worker.jobs import poll
from worker.settings import QueueSettings, WorkerSettings
from worker.store import WORKERS_KEY

START_SECONDS = 120
_WRONG_CLOCK = Path(__file__).parent / "wrong_clock"


def create_environment(settings: BaseSettings) -> dict[str, str]:
    """Return the variables that give a process the settings that were set here."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    return {f"EMOCLIP_{name.upper()}": str(value) for name, value in given.items()}


def start_worker(
    queue: QueueSettings, settings: WorkerSettings, *, log: Path, skew_seconds: int = 0
) -> subprocess.Popen[bytes]:
    """Start one worker; with a skew, Python's wall clock is wrong by so much in all its processes."""
    environment = create_environment(queue) | create_environment(settings)
    if skew_seconds:
        path = os.pathsep.join(filter(None, [str(_WRONG_CLOCK), os.environ.get("PYTHONPATH")]))
        environment |= {"PYTHONPATH": path, "WRONG_CLOCK_SECONDS": str(skew_seconds)}
    return start_process([sys.executable, "-P", "-m", "worker.tasks"], log=log, environment=environment)


def wait_for_worker(queue: QueueSettings, worker: subprocess.Popen[bytes], *, log: Path) -> None:
    """Return when a worker has given a sign of life."""
    name = f"{socket.gethostname()}-{worker.pid}"
    with redis.Redis.from_url(queue.redis_url) as client:
        assert poll(lambda: client.zscore(WORKERS_KEY, name), seconds=START_SECONDS), tail_text(log)


@contextlib.contextmanager
def run_worker(queue: QueueSettings, settings: WorkerSettings, *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one worker until the context ends; yields it when it has given a sign of life."""
    worker = start_worker(queue, settings, log=log)
    try:
        wait_for_worker(queue, worker, log=log)
        yield worker
    finally:
        stop_process(worker, grace_seconds=20)


def find_children(process_id: int) -> list[int]:
    """Return the process ids of the children of a process (Linux), of all its threads; none where it has ended."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found
