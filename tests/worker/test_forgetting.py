"""Forgetting: what is erased leaves the append-only file of a real redis-server, and what is kept stays."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.redis_server import run_redis_server
from tests.worker.jobs import create_store, poll
from worker.contract import JobRecord
from worker.forgetting import Forgetting
from worker.store import new_job_id
from worker.work_store import WorkStore


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """Client of a server that keeps an append-only file in the test's directory."""
    with (
        run_redis_server(tmp_path, append_only=True) as url,
        contextlib.closing(redis.Redis.from_url(url)) as client,
    ):
        yield client


@pytest.fixture
def store(client: redis.Redis) -> WorkStore:
    return create_store(client)


def create_named_job(store: WorkStore, name: str) -> str:
    job_id = new_job_id()
    store.create(JobRecord(job_id=job_id, file_name=name))
    return job_id


def is_on_disk(folder: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_deleted_job_leaves_the_file_and_the_others_stay(client: redis.Redis, store: WorkStore, tmp_path: Path) -> None:
    deleted, kept = create_named_job(store, "canary.mp4"), create_named_job(store, "kept.mp4")
    forgetting = Forgetting(client)
    assert poll(lambda: is_on_disk(tmp_path, "canary.mp4"))

    store.delete(deleted)
    forgetting.forget()

    assert poll(lambda: not is_on_disk(tmp_path, "canary.mp4"))
    assert store.get(kept) is not None
    assert is_on_disk(tmp_path, "kept.mp4")


def test_nothing_is_rewritten_without_need_nor_twice(client: redis.Redis, store: WorkStore) -> None:
    create_named_job(store, "kept.mp4")
    forgetting, other = Forgetting(client), Forgetting(client)
    forgetting.forget()
    assert count_rewrites(client) == 0

    store.delete(create_named_job(store, "canary.mp4"))
    forgetting.forget()
    assert poll(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    forgetting.forget()
    other.forget()

    assert count_rewrites(client) == 1


def test_server_without_the_file_is_left_alone(redis_client: redis.Redis) -> None:
    store = create_store(redis_client)
    store.delete(create_named_job(store, "canary.mp4"))

    before = count_rewrites(redis_client)
    Forgetting(redis_client).forget()

    assert count_rewrites(redis_client) == before


def count_rewrites(client: redis.Redis) -> int:
    calls: int = client.info("commandstats").get("cmdstat_bgrewriteaof", {}).get("calls", 0)
    return calls
