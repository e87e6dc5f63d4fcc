"""A small sample of tests.bench.load against the API alone: nothing is lost, nothing is left."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
import redis

from tests.app.conftest import CreateServer
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job_with_rows
from tests.bench.load import delete_all, hold_sockets, read_all, time_health, upload_all
from worker.settings import QueueSettings
from worker.work_store import WorkStore


def test_health_is_answered_beside_sockets_that_hang(url: str, queue: QueueSettings) -> None:
    async def ask() -> tuple[int, int]:
        async with hold_sockets(url, idle=60, slow_headers=30, slow_bodies=30, drip_seconds=0.02) as dripping:
            times = await time_health(url, seconds=0.5)
            return len(times), sum(not task.done() for task in dripping)

    answers, dripping = asyncio.run(ask())

    assert answers > 0
    assert dripping == 60
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert client.get("/v1/jobs").json()["jobs"] == [], "what was cut off leaves no job"


def test_sockets_that_a_server_cuts_are_counted() -> None:
    accepted = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        is_kept = accepted <= 4
        try:
            while is_kept and await reader.read(1000):
                pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def hold() -> int:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            url = f"http://{host}:{port}"
            async with hold_sockets(url, idle=0, slow_headers=0, slow_bodies=10, drip_seconds=0.02) as dripping:
                while sum(task.done() for task in dripping) < 6:
                    await asyncio.sleep(0.02)
                return sum(not task.done() for task in dripping)

    assert asyncio.run(hold()) == 4


@pytest.mark.parametrize(("most", "videos"), [(256, 40), (4, 8)], ids=["at once", "in turns"])
def test_uploads_at_the_same_time_all_become_jobs(
    most: int, videos: int, create_server: CreateServer, redis_client: redis.Redis, sample_video: Path
) -> None:
    url = create_server(max_uploads_at_once=most)

    jobs, statuses = asyncio.run(upload_all(url, sample_video.read_bytes()[:20_000], videos=videos))

    assert len(set(jobs)) == statuses[202] + statuses[200] == videos
    assert set(statuses) <= {200, 202, 409, 429}
    with httpx.Client(base_url=url, trust_env=False) as client:
        assert len(client.get("/v1/jobs").json()["jobs"]) == videos, "none is made twice"
    asyncio.run(delete_all(url, jobs))
    assert redis_client.keys("emoclip:job*") == []


def test_many_readers_all_get_their_rows(url: str, store: WorkStore) -> None:
    job = f"/v1/jobs/{create_job_with_rows(store, create_rows([[create_face(1)]] * 50))}"

    times = asyncio.run(read_all(url, [job, f"{job}/frames", f"{job}/result"], requests=200, connections=40))

    assert len(times) == 200
