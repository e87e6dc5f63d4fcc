"""The thread that keeps a lease, against a real Redis."""

import threading

import pytest
import redis

from tests.worker.jobs import create_planned_job, create_store, poll
from worker.lease_keeper import LeaseKeeper
from worker.work_store import Lease, WorkStore

LEASE_SECONDS = 2.0
"""Ten times the pause between two renewals, for a busy machine."""


@pytest.fixture
def store(redis_client: redis.Redis) -> WorkStore:
    return create_store(redis_client, lease_seconds=LEASE_SECONDS)


@pytest.fixture
def lease(store: WorkStore) -> Lease:
    lease = store.claim_segment(create_planned_job(store, segments=1), 0)
    assert lease is not None
    return lease


def create_keeper(store: WorkStore, lease: Lease, *, draining: bool = False) -> LeaseKeeper:
    return LeaseKeeper(store, lease, is_draining=lambda: draining)


def test_lease_is_kept_for_longer_than_it_lasts(store: WorkStore, lease: Lease) -> None:
    with create_keeper(store, lease) as keeper:
        threading.Event().wait(1.2 * LEASE_SECONDS)
        assert store.claim_segment(lease.job_id, 0) is None
        assert not keeper.should_stop()
    assert poll(lambda: store.claim_segment(lease.job_id, 0))


def test_progress_is_passed_on(store: WorkStore, lease: Lease) -> None:
    def frames_done() -> int:
        snapshot = store.get(lease.job_id)
        assert snapshot is not None
        return snapshot.progress.frames_done

    with create_keeper(store, lease) as keeper:
        keeper.report(5)
        assert poll(lambda: frames_done() == 5)


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_end_of_the_job_stops_the_work_soon(store: WorkStore, lease: Lease, end: str) -> None:
    with create_keeper(store, lease) as keeper:
        getattr(store, end)(lease.job_id)
        assert poll(keeper.should_stop)
        assert keeper.is_lost


def test_told_to_end_the_process_stops_but_keeps_its_lease(store: WorkStore, lease: Lease) -> None:
    with create_keeper(store, lease, draining=True) as keeper:
        assert keeper.should_stop()
        assert not keeper.is_lost


def test_silent_redis_does_not_stop_the_work() -> None:
    with redis.Redis(port=1) as client:
        store = create_store(client)
        lease = Lease(job_id="0" * 32, unit="0", token="", attempt=1)
        with create_keeper(store, lease) as keeper:
            threading.Event().wait(0.5)  # two attempts to renew
            assert not keeper.should_stop()
