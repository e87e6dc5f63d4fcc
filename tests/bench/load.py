"""The service under load: `python -m tests.bench.load --json OUT`.

Runs `emoclip serve`'s processes and then, one after the other:

* sockets: 500 connections that say nothing, drip a header or drip a body, while /healthz is asked all the time;
* uploads: 200 small videos sent at the same time; a 429 is obeyed as its Retry-After says; every job must end;
* pollers: 10,000 reads of jobs and rows, in four rounds, over 100 connections, with the API's memory after each round;
* end: every job deleted; the keys that are left in Redis.

The networks look at small pictures here (EMOCLIP_LONG_SIDE), because HTTP is what is measured.
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.bench.report import write_report
from tests.bench.service import Site, percentile, run_site
from tests.videos import face_scene, write_constant_rate
from tests.worker.jobs import poll

SETTINGS = {"EMOCLIP_MAX_REQUESTS_PER_MINUTE": "0", "EMOCLIP_LONG_SIDE": "320", "EMOCLIP_UPSCALE_TO": "320"}
TRANSPORT_RETRIES = 3
DRIP_SECONDS = 1.0


@contextlib.asynccontextmanager
async def hold_sockets(
    url: str, *, idle: int, slow_headers: int, slow_bodies: int, drip_seconds: float = DRIP_SECONDS
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Keep connections open that do nothing or as little as possible.

    Yields the tasks that drip; one ends when it notices, at a drop, that the server has cut its connection.
    """
    host, port = urlsplit(url).hostname, urlsplit(url).port
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection(host, port)
        writers.append(writer)
        return writer

    async def drip(begin: bytes, drop: bytes) -> None:
        writer = await connect()
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(drip_seconds)
                writer.write(drop)
                await writer.drain()

    header = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    body = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\nContent-Length: 1000000\r\n\r\n"
    for _ in range(idle):
        await connect()
    tasks = [asyncio.create_task(drip(header, b"x")) for _ in range(slow_headers)]
    tasks += [asyncio.create_task(drip(body, b"x")) for _ in range(slow_bodies)]
    try:
        while len(writers) < idle + slow_headers + slow_bodies:
            await asyncio.sleep(0.01)
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()


async def time_health(url: str, *, seconds: float, pause_seconds: float = 0.01) -> list[float]:
    """Return how long each /healthz took, asked one after the other."""
    times = []
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            begin = time.perf_counter()
            response = await client.get("/healthz")
            times.append(time.perf_counter() - begin)
            assert response.status_code == 200, response.text
            await asyncio.sleep(pause_seconds)
    return times


async def upload_all(url: str, content: bytes, *, videos: int) -> tuple[list[str], Counter[int]]:
    """Send a video so many times at once, coming back when told to; return the jobs' URLs and the answers' statuses.

    As any client on a busy network should, each repeats a request whose answer got lost under its Idempotency-Key.
    """
    statuses: Counter[int] = Counter()

    async def upload(client: httpx.AsyncClient) -> str:
        headers = {"Content-Type": "video/mp4", "Idempotency-Key": uuid.uuid4().hex}
        while True:
            try:
                response = await client.post("/v1/jobs", content=content, headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(1)
                continue
            statuses[response.status_code] += 1
            if response.is_success:
                return response.headers["location"]
            assert response.status_code in (409, 429, 503), response.text
            await asyncio.sleep(float(response.headers["retry-after"]))

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=300, limits=limits) as client:
        return list(await asyncio.gather(*(upload(client) for _ in range(videos)))), statuses


async def read_all(url: str, paths: list[str], *, requests: int, connections: int) -> list[float]:
    """Read so many times, over so many connections, each in turn from `paths`; return how long each read took."""
    times: list[float] = []
    turns = iter(range(requests))

    async def read(client: httpx.AsyncClient) -> None:
        for turn in turns:
            begin = time.perf_counter()
            response = await client.get(paths[turn % len(paths)])
            times.append(time.perf_counter() - begin)
            assert response.status_code == 200, response.text

    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=300, limits=limits) as client:
        await asyncio.gather(*(read(client) for _ in range(connections)))
    return times


async def delete_all(url: str, jobs: list[str]) -> None:
    """Erase the jobs."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=300) as client:
        for job in jobs:
            response = await client.delete(job)
            assert response.status_code == 204, response.text


def _milliseconds(times: list[float]) -> dict[str, float]:
    return {
        "requests": len(times),
        "p50_ms": round(1000 * percentile(times, 0.5), 1),
        "p99_ms": round(1000 * percentile(times, 0.99), 1),
        "max_ms": round(1000 * max(times), 1),
    }


async def _measure_sockets(url: str, *, seconds: float) -> dict[str, object]:
    quiet = await time_health(url, seconds=seconds / 3)
    async with hold_sockets(url, idle=250, slow_headers=125, slow_bodies=125) as dripping:
        times = await time_health(url, seconds=seconds)
        alive = sum(not task.done() for task in dripping)
    return {"sockets": 500, "still_dripping": alive, "quiet": _milliseconds(quiet), "loaded": _milliseconds(times)}


def _wait_for_ends(url: str, jobs: list[str], *, seconds: float) -> Counter[str]:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        open_jobs, states = set(jobs), Counter[str]()

        def all_ended() -> bool:
            for job in sorted(open_jobs):
                state = client.get(job).json()["state"]
                if state in ("succeeded", "failed", "canceled"):
                    states[state] += 1
                    open_jobs.discard(job)
            return not open_jobs

        assert poll(all_ended, seconds=seconds, every_seconds=1), f"{len(open_jobs)} jobs have not ended"
    return states


def measure(site: Site, content: bytes, *, seconds: float, uploads: int, requests: int) -> dict[str, object]:
    """Run all the loads on a fresh service."""
    url = site.service.url
    sockets = asyncio.run(_measure_sockets(url, seconds=seconds))
    begin = time.perf_counter()
    jobs, statuses = asyncio.run(upload_all(url, content, videos=uploads))
    sent_seconds = time.perf_counter() - begin
    states = _wait_for_ends(url, jobs, seconds=3600)
    ended_seconds = time.perf_counter() - begin
    paths = [path for job in jobs[:20] for path in (job, f"{job}/frames")]
    rounds = []
    for _ in range(4):
        begin = time.perf_counter()
        times = asyncio.run(read_all(url, paths, requests=requests // 4, connections=100))
        per_second = round(len(times) / (time.perf_counter() - begin), 1)
        rounds.append(_milliseconds(times) | {"per_second": per_second, "api_mib": site.measure_memory().api})
    asyncio.run(delete_all(url, jobs))
    assert poll(lambda: site.count_keys() == 0, seconds=60, every_seconds=0.1), f"{site.count_keys()} keys are left"
    return {
        "sockets": sockets,
        "uploads": {
            "videos": uploads,
            "answers": {str(status): count for status, count in sorted(statuses.items())},
            "sent_seconds": round(sent_seconds, 1),
            "ended_seconds": round(ended_seconds, 1),
            "states": dict(states),
        },
        "pollers": rounds,
        "end": {"keys_of_jobs": site.count_keys(), "memory_mib": asdict(site.measure_memory())},
    }


def main() -> int:
    """Print the figures as JSON, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="of holding the sockets")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args()
    os.environ.update(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        video = write_constant_rate(Path(folder) / "small.mp4", 8, scene=face_scene())
        with run_site(Path(folder)) as site:
            results = measure(
                site,
                video.read_bytes(),
                seconds=options.seconds,
                uploads=options.uploads,
                requests=options.requests,
            )
    write_report("tests.bench.load", results, options.output, settings=SETTINGS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
