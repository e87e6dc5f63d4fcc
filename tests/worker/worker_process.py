"""Real worker processes for tests: started, waited for, found in the process table, stopped."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import redis

from app.processes import start_process, stop_process, tail_text
from tests.worker.jobs import poll
from worker.settings import QueueSettings, WorkerSettings
from worker.store import WORKERS_KEY


@contextlib.contextmanager
def run_worker(queue: QueueSettings, settings: WorkerSettings, *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run one worker until the context ends; yields it when it has given a sign of life."""
    given = queue.model_dump(mode="json", exclude_unset=True) | settings.model_dump(mode="json", exclude_unset=True)
    environment = {f"EMOCLIP_{name.upper()}": str(value) for name, value in given.items()}
    with redis.Redis.from_url(queue.redis_url) as client:
        worker = start_process([sys.executable, "-P", "-m", "worker.tasks"], log=log, environment=environment)
        try:
            name = f"{socket.gethostname()}-{worker.pid}"
            assert poll(lambda: client.zscore(WORKERS_KEY, name), seconds=60), tail_text(log)
            yield worker
        finally:
            stop_process(worker, grace_seconds=20)


def find_children(process_id: int) -> list[int]:
    """Return the process ids of the children of a process (Linux)."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return [int(child) for child in children]
