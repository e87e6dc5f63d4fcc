"""One look of the sweeper, with a real Redis and a real directory of uploads."""

import os
from pathlib import Path

import pytest
import redis

from tests.worker.jobs import create_job, create_planned_job, create_store
from worker.media import LocalMediaStore
from worker.store import new_job_id
from worker.sweeper import Sweeper
from worker.work_store import Bell, WorkStore


@pytest.fixture
def store(redis_client: redis.Redis) -> WorkStore:
    return create_store(redis_client)


@pytest.fixture
def media(tmp_path: Path) -> LocalMediaStore:
    return LocalMediaStore(tmp_path, keep_free_bytes=0)


def upload(media: LocalMediaStore, job_id: str) -> None:
    with media.begin(job_id) as pending:
        pending.commit()


def test_sweeper_rings_for_what_is_due(store: WorkStore, media: LocalMediaStore) -> None:
    rung: list[Bell] = []
    job_id = create_planned_job(store, segments=2)
    lease = store.claim_segment(job_id, 1)
    assert lease is not None
    store.release(lease, counted=False)
    Sweeper(store, media, ring=rung.append).sweep()
    assert rung == [Bell(job_id, "1")]


def test_sweeper_erases_the_uploads_of_ended_and_deleted_jobs(
    store: WorkStore, media: LocalMediaStore, tmp_path: Path
) -> None:
    running, canceled, deleted = (create_job(store) for _ in range(3))
    for job_id in (running, canceled, deleted):
        upload(media, job_id)
    store.cancel(canceled)
    store.delete(deleted)
    Sweeper(store, media, ring=print).sweep()
    assert [folder.name for folder in tmp_path.iterdir()] == [running]
    assert store.sweep() == []


def test_sweeper_erases_old_uploads_that_never_had_a_job(
    store: WorkStore, media: LocalMediaStore, tmp_path: Path
) -> None:
    abandoned, young, waiting = new_job_id(), new_job_id(), create_job(store)
    for job_id in (abandoned, young, waiting):
        upload(media, job_id)
    for job_id in (abandoned, waiting):
        os.utime(tmp_path / job_id / "source", (0, 0))
        os.utime(tmp_path / job_id, (0, 0))
    Sweeper(store, media, ring=print).sweep()
    assert {folder.name for folder in tmp_path.iterdir()} == {young, waiting}
