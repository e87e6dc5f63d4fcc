"""What the programs that load a running service share: the service's processes, their memory, the keys in Redis."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from app.embedded import Service, run_service

__all__ = ["Memory", "Site", "percentile", "run_site"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB."""

    api: float
    worker: float
    """Of the worker's main process and all that descend from it."""
    redis: float


@dataclass(frozen=True, slots=True)
class Site:
    """A running service and its Redis."""

    service: Service
    redis: redis.Redis

    def measure_memory(self) -> Memory:
        """Return what the processes hold just now."""
        ids = self.service.process_ids
        return Memory(
            api=_resident_mib(ids["api"]),
            worker=sum(_resident_mib(process) for process in _descendants(ids["worker-1"])),
            redis=_resident_mib(ids["redis"]),
        )

    def count_keys(self) -> int:
        """Return the number of keys that belong to single jobs; an owner's index, one key, outlives them."""
        return sum(1 for _ in self.redis.scan_iter("emoclip:job:*", count=1000))


@contextlib.contextmanager
def run_site(directory: Path) -> Iterator[Site]:
    """Run the one-command service in a directory, as `emoclip serve` does, until the context ends."""
    with run_service(directory) as service:
        url = next(
            value.removeprefix("EMOCLIP_REDIS_URL=")
            for value in Path(f"/proc/{service.process_ids['api']}/environ").read_text().split("\0")
            if value.startswith("EMOCLIP_REDIS_URL=")
        )
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            yield Site(service, client)


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that `share` (0..1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _descendants(process: int) -> list[int]:
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += _descendants(child)
    return found


def _resident_mib(process: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0
