"""What idle event streams cost an API process: `python -m tests.bench.streams --json OUT`. Linux only.

An API process of its own, a redis-server of its own, one queued job a stream. Memory and threads of the process are
read before and while the streams are open, its processor time over ten seconds in which nothing happens, and how long
another request takes meanwhile.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from statistics import median

import httpx
import redis

from app.redis_server import run_redis_server
from tests.app.api_process import ApiProcess
from tests.app.stored_jobs import create_job
from tests.bench.report import write_report
from worker.settings import QueueSettings
from worker.work_store import WorkStore

QUIET_SECONDS = 10.0
REQUESTS = 20


def read_process(process_id: int) -> dict[str, float]:
    """Return memory, threads and processor time of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{process_id}/status").read_text().splitlines() if ":" in line
    )
    times = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return {
        "rss_mib": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "threads": int(status["Threads"]),
        "cpu_seconds": (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
    }


async def measure(api: ApiProcess, job_ids: Sequence[str]) -> dict[str, float]:
    """Open one stream a job and look at the process meanwhile."""
    assert api.process is not None
    before = read_process(api.process.pid)
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=api.url, limits=limits, timeout=60, trust_env=False)
        )
        for job_id in job_ids:
            response = await stack.enter_async_context(client.stream("GET", f"/v1/jobs/{job_id}/events"))
            response.raise_for_status()
        opened = read_process(api.process.pid)
        await asyncio.sleep(QUIET_SECONDS)
        after = read_process(api.process.pid)
        seconds = []
        for _ in range(REQUESTS):
            started = time.perf_counter()
            (await client.get(f"/v1/jobs/{job_ids[0]}")).raise_for_status()
            seconds.append(time.perf_counter() - started)
    return {
        "streams": len(job_ids),
        "rss_mib_before": before["rss_mib"],
        "rss_mib": after["rss_mib"],
        "kib_a_stream": round((after["rss_mib"] - before["rss_mib"]) * 1024 / len(job_ids), 1),
        "threads_before": before["threads"],
        "threads": after["threads"],
        "cpu_percent_while_idle": round(100 * (after["cpu_seconds"] - opened["cpu_seconds"]) / QUIET_SECONDS, 1),
        "other_request_ms": round(1000 * median(seconds), 1),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    results = []
    for streams in options.streams:
        with tempfile.TemporaryDirectory() as name, run_redis_server(Path(name)) as url:
            queue = QueueSettings(redis_url=url, media_dir=Path(name) / "media")
            os.environ["EMOCLIP_MAX_STREAMS_AT_ONCE"] = str(streams)
            api = ApiProcess(queue, Path(name) / "api.log")
            with closing(redis.Redis.from_url(url)) as client:
                store = WorkStore(client, queue)
                job_ids = [create_job(store) for _ in range(streams)]
            try:
                api.start()
                results.append(asyncio.run(measure(api, job_ids)))
            finally:
                api.stop()
    write_report("tests.bench.streams", results, options.json)


if __name__ == "__main__":
    main()
