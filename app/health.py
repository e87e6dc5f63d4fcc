"""Whether a worker of this host gave a sign of life of late: the health check of a worker's container."""

import contextlib
import socket

from worker.redis_client import StoreUnavailableError, create_redis_client
from worker.settings import QueueSettings
from worker.store import JobStore

__all__ = ["has_worker_here"]


def has_worker_here() -> bool:
    """Ask Redis; False also where it does not answer."""
    settings = QueueSettings()
    with contextlib.closing(create_redis_client(settings)) as client:
        try:
            workers = JobStore(client, settings).list_workers()
        except StoreUnavailableError:
            return False
    return any(worker.rpartition("-")[0] == socket.gethostname() for worker in workers)
