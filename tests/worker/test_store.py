"""The job store against a real Redis: every transition, every way to lose a lease, every key's end."""

import threading

import pytest
import redis

from tests.worker.jobs import (
    MODEL,
    analyse,
    count_tracks,
    create_face,
    create_facts,
    create_job,
    create_planned_job,
    create_plans,
    create_rows,
    create_store,
    poll,
)
from worker.contract import ErrorCode, FrameRow, JobFailure, JobState, SegmentPlan, SegmentRows
from worker.settings import QueueSettings
from worker.store import JobStore, StoreFullError, StoreUnavailableError
from worker.summary import summarise
from worker.work_store import ERASE, FINISH, INDEX, Bell, Lease, Put, WorkStore

FAILURE = JobFailure(code=ErrorCode.UNDECODABLE, message="Nothing can be decoded.")
SHORT = 0.01


@pytest.fixture
def store(redis_client: redis.Redis) -> WorkStore:
    return create_store(redis_client)


def claim(store: WorkStore, job_id: str, segment: int = 0) -> Lease:
    lease = store.claim_segment(job_id, segment)
    assert lease is not None
    return lease


def state_of(store: JobStore, job_id: str) -> JobState:
    snapshot = store.get(job_id)
    assert snapshot is not None
    return snapshot.state


def finish(store: WorkStore, job_id: str, *, frames: int) -> bool:
    lease = store.claim_finish(job_id)
    assert lease is not None
    return store.succeed(lease, summarise(store.iter_rows(job_id)), video=create_facts(frames))


# one undisturbed life


def test_get_returns_the_created_record_as_queued(store: WorkStore) -> None:
    job_id = create_job(store, owner="alice")
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert (snapshot.record.job_id, snapshot.record.owner, snapshot.state) == (job_id, "alice", JobState.QUEUED)


def test_get_returns_none_for_an_unknown_job(store: WorkStore) -> None:
    assert store.get("0" * 32) is None


def test_create_twice_changes_nothing(store: WorkStore) -> None:
    job_id = create_job(store)
    store.claim_index(job_id)
    snapshot = store.get(job_id)
    assert snapshot is not None
    store.create(snapshot.record)
    assert state_of(store, job_id) is JobState.PROCESSING


def test_undisturbed_job_succeeds_with_rows_and_summary(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=3)
    ready = [analyse(store, job_id, segment) for segment in range(3)]
    assert finish(store, job_id, frames=24)
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert ready == [False, False, True]
    assert snapshot.state is JobState.SUCCEEDED
    assert snapshot.model == MODEL
    assert [track.frames for track in snapshot.summary or ()] == [8, 8, 8]
    assert snapshot.progress.frames_done == snapshot.progress.frames_total == snapshot.rows_ready == 24


def test_segments_may_arrive_in_any_order_and_are_stitched_in_theirs(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=3)
    ready = [analyse(store, job_id, segment) for segment in (2, 0, 1)]
    rows = store.get_rows(job_id, start=0, limit=100)
    assert ready == [False, False, True]
    assert [row.frame for row in rows] == list(range(24))
    assert [row.faces[0].track for row in rows] == [1] * 8 + [2] * 8 + [3] * 8


def test_rows_of_the_finished_beginning_are_readable_while_the_job_runs(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=3)
    analyse(store, job_id, 0)
    analyse(store, job_id, 2)
    assert [row.frame for row in store.get_rows(job_id, start=0, limit=100)] == list(range(8))


def test_two_stitchers_at_once_write_every_row_once(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=12)
    for segment in range(12):
        lease = claim(store, job_id, segment)
        store.put_segment(lease, create_rows(create_plans(12)[segment]), model=MODEL)
    threads = [threading.Thread(target=store.advance_stitching, args=(job_id, count_tracks)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = store.get_rows(job_id, start=0, limit=1000)
    assert [(row.frame, row.faces[0].track) for row in rows] == [(n, n // 8 + 1) for n in range(96)]


@pytest.mark.parametrize(("start", "limit"), [(0, 1), (0, 700), (255, 2), (256, 256), (300, 1), (650, 100), (700, 5)])
def test_get_rows_returns_any_page_of_a_long_segment(store: WorkStore, start: int, limit: int) -> None:
    job_id = create_job(store)
    index_lease = store.claim_index(job_id)
    assert index_lease is not None
    plan = SegmentPlan(segment=0, first_position=0, frames=None, pts_seconds=None, seek_pts=None)
    store.put_plans(index_lease, create_facts(700), [plan])
    rows = SegmentRows(segment=0, rows=tuple(FrameRow(frame=n, pts_seconds=n / 25) for n in range(700)))
    store.put_segment(claim(store, job_id), rows, model=MODEL)
    store.advance_stitching(job_id, count_tracks)
    page = store.get_rows(job_id, start=start, limit=limit)
    assert [row.frame for row in page] == list(range(700))[start : start + limit]
    assert list(store.iter_rows(job_id)) == list(rows.rows)


def test_get_rows_gives_back_what_was_put(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    analyse(store, job_id, 0)
    (row,) = store.get_rows(job_id, start=3, limit=1)
    assert row == FrameRow(frame=3, pts_seconds=3 / 25, faces=(create_face(track=1),))


def test_progress_counts_frames_and_estimates_the_rest(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=2)
    lease = claim(store, job_id)
    store.renew(lease, frames_done=4)
    snapshot = store.get(job_id)
    assert snapshot is not None
    progress = snapshot.progress
    assert (progress.frames_done, progress.frames_total) == (4, 16)
    assert progress.frames_per_second
    assert progress.eta_seconds == pytest.approx(12 / progress.frames_per_second)


# lists


def test_list_returns_newest_first_by_cursor_and_owner(store: WorkStore) -> None:
    ids = [create_job(store, owner="alice") for _ in range(5)]
    create_job(store, owner="bob")
    ids.sort(reverse=True)  # within one millisecond chance decides
    first = store.list_jobs("alice", limit=3)
    second = store.list_jobs("alice", limit=3, before=first[-1].record.job_id)
    assert [job.record.job_id for job in (*first, *second)] == ids


def test_list_skips_expired_jobs_and_forgets_them(store: WorkStore, redis_client: redis.Redis) -> None:
    ids = sorted(create_job(store) for _ in range(4))
    redis_client.delete(f"emoclip:job:{ids[3]}", f"emoclip:job:{ids[2]}")
    assert [job.record.job_id for job in store.list_jobs(limit=1)] == [ids[1]]
    assert redis_client.zcard("emoclip:jobs:") == 2


# leases


def test_claim_gives_a_unit_to_one_worker_only(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    claim(store, job_id)
    assert store.claim_segment(job_id, 0) is None


def test_claim_refuses_a_segment_that_is_done(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=2)
    store.put_segment(claim(store, job_id, 1), create_rows(create_plans(2)[1]), model=MODEL)
    analyse(store, job_id, 0)
    assert store.claim_segment(job_id, 0) is None
    assert store.claim_segment(job_id, 1) is None


def test_claim_refuses_a_segment_that_is_not_planned(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    assert store.claim_segment(job_id, 1) is None


def test_claim_refuses_to_index_twice_and_to_finish_early(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    assert store.claim_index(job_id) is None
    assert store.claim_finish(job_id) is None


def test_expired_lease_goes_to_the_next_worker_and_the_slow_one_is_refused(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, lease_seconds=SHORT)
    job_id = create_planned_job(store, segments=1)
    slow = claim(store, job_id)
    assert poll(lambda: store.claim_segment(job_id, 0))
    assert not store.renew(slow)
    assert not store.fail(slow, FAILURE)
    assert not store.release(slow, counted=True)
    assert store.put_segment(slow, create_rows(create_plans(1)[0]), model=MODEL) is Put.REFUSED
    assert state_of(store, job_id) is JobState.PROCESSING


def test_renewed_lease_stays(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, lease_seconds=SHORT)
    job_id = create_planned_job(store, segments=1)
    lease = claim(store, job_id)
    create_store(redis_client).renew(lease)
    threading.Event().wait(2 * SHORT)
    assert store.claim_segment(job_id, 0) is None


def test_progress_of_a_second_attempt_does_not_count_twice(redis_client: redis.Redis) -> None:
    store = create_store(redis_client)
    job_id = create_planned_job(store, segments=1)
    first = claim(store, job_id)
    store.renew(first, frames_done=6)
    store.release(first, counted=True)
    second = claim(store, job_id)
    store.renew(second, frames_done=2)
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert snapshot.progress.frames_done == 6
    store.put_segment(second, create_rows(create_plans(1)[0]), model=MODEL)
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert snapshot.progress.frames_done == 8


@pytest.mark.parametrize("unit", [INDEX, "0", FINISH])
def test_start_after_the_third_fails_the_job_as_poison(redis_client: redis.Redis, unit: str) -> None:
    store = create_store(redis_client)
    job_id = create_job(store) if unit == INDEX else create_planned_job(store, segments=1)
    if unit == FINISH:
        analyse(store, job_id, 0)
    claims = {INDEX: store.claim_index, FINISH: store.claim_finish}
    attempts = []
    for _ in range(3):
        lease = claims[unit](job_id) if unit in claims else store.claim_segment(job_id, 0)
        assert lease is not None
        attempts.append(lease.attempt)
        store.release(lease, counted=True)
    assert attempts == [1, 2, 3]
    assert (claims[unit](job_id) if unit in claims else store.claim_segment(job_id, 0)) is None
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert snapshot.state is JobState.FAILED
    assert snapshot.failure is not None
    assert snapshot.failure.code is ErrorCode.POISON


def test_release_that_is_no_fault_does_not_count(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    for _ in range(10):
        lease = claim(store, job_id)
        assert lease.attempt == 1
        assert store.release(lease, counted=False)


# the one terminal state


def test_job_ends_once(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    analyse(store, job_id, 0)
    lease = store.claim_finish(job_id)
    assert lease is not None
    assert store.cancel(job_id)
    assert not store.cancel(job_id)
    assert not store.fail(lease, FAILURE)
    assert not store.succeed(lease, [], video=create_facts(8))
    assert state_of(store, job_id) is JobState.CANCELED


def test_many_enders_at_once_and_one_wins(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    lease = claim(store, job_id)
    barrier = threading.Barrier(8)
    outcomes: list[bool] = []

    def end(number: int) -> None:
        barrier.wait()
        outcomes.append(store.cancel(job_id) if number % 2 else store.fail(lease, FAILURE))

    threads = [threading.Thread(target=end, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]


@pytest.mark.parametrize("planned", [False, True])
def test_cancel_ends_a_job_and_its_lease(store: WorkStore, planned: bool) -> None:
    job_id = create_planned_job(store, segments=1) if planned else create_job(store)
    lease = claim(store, job_id) if planned else store.claim_index(job_id)
    assert lease is not None
    assert store.cancel(job_id)
    assert not store.renew(lease)
    assert state_of(store, job_id) is JobState.CANCELED


def test_fail_keeps_the_failure_and_the_rows_that_are_ready(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=2)
    analyse(store, job_id, 0)
    assert store.fail(claim(store, job_id, 1), FAILURE)
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert snapshot.failure == FAILURE
    assert snapshot.finished_at is not None
    assert len(store.get_rows(job_id, start=0, limit=100)) == 8


def test_new_plan_forgets_the_rows_and_leases_of_the_old_one(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=3)
    analyse(store, job_id, 0)
    mismatched, other = claim(store, job_id, 1), claim(store, job_id, 2)
    fallback = SegmentPlan(segment=0, first_position=0, frames=None, pts_seconds=None, seek_pts=None)
    assert store.put_plans(mismatched, create_facts(23), [fallback])
    assert not store.renew(other)
    assert not store.put_plans(other, create_facts(23), [fallback])
    snapshot = store.get(job_id)
    assert snapshot is not None
    assert (snapshot.rows_ready, snapshot.progress.frames_done, snapshot.progress.frames_total) == (0, 0, 23)
    lease = claim(store, job_id)
    assert store.get_plan(lease) == fallback
    assert store.put_segment(lease, create_rows(create_plans(1)[0]), model=MODEL) is Put.LAST


# bells


def ringing(store: WorkStore) -> list[Bell]:
    """All bells that ring within a moment."""
    rung: list[Bell] = []

    def sweep() -> bool:
        rung.extend(store.sweep())
        return False

    poll(sweep, seconds=0.1)
    return rung


def test_sweep_rings_a_queued_job_whose_message_was_lost(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, doorbell_seconds=SHORT)
    job_id = create_job(store)
    assert Bell(job_id, INDEX) in ringing(store)


def test_sweep_leaves_a_fresh_job_alone(store: WorkStore) -> None:
    create_job(store)
    assert store.sweep() == []


def test_sweep_is_patient_while_messages_wait_in_the_queue(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, doorbell_seconds=SHORT)
    create_job(store)
    redis_client.rpush(QueueSettings().queue_name, "a message")
    assert ringing(store) == []


def test_sweep_rings_less_and_less_often(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, doorbell_seconds=0.001)
    create_job(store)
    assert 1 < len(ringing(store)) < 9  # the pause doubles from 1 ms: some 7 in 100 ms


def test_sweep_rings_for_an_expired_lease(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, lease_seconds=SHORT)
    job_id = create_planned_job(store, segments=1)
    claim(store, job_id)
    assert ringing(store) == [Bell(job_id, "0")]


def test_sweep_rings_at_once_for_a_released_lease(store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=1)
    store.release(claim(store, job_id), counted=False)
    assert store.sweep() == [Bell(job_id, "0")]


def test_sweep_does_not_ring_for_a_lease_that_is_kept(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, doorbell_seconds=SHORT)
    claim(store, create_planned_job(store, segments=1))
    assert ringing(store) == []


def test_sweep_rings_for_every_segment_and_for_the_finish(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, doorbell_seconds=SHORT)
    job_id = create_planned_job(store, segments=2)
    assert {Bell(job_id, "0"), Bell(job_id, "1")} == set(ringing(store))
    analyse(store, job_id, 0)
    analyse(store, job_id, 1)
    assert set(ringing(store)) == {Bell(job_id, FINISH)}


def test_two_sweepers_do_not_ring_for_the_same(redis_client: redis.Redis) -> None:
    store = create_store(redis_client)
    job_ids = [create_planned_job(store, segments=1) for _ in range(20)]
    for job_id in job_ids:
        store.release(claim(store, job_id), counted=False)
    assert len(store.sweep()) == 20
    assert store.sweep() == []


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "delete"])
def test_ended_job_leaves_only_the_bell_that_erases_its_upload(store: WorkStore, end: str) -> None:
    job_id = create_planned_job(store, segments=2)
    if end == "succeed":
        analyse(store, job_id, 0)
        analyse(store, job_id, 1)
        finish(store, job_id, frames=16)
    elif end == "fail":
        store.fail(claim(store, job_id), FAILURE)
    else:
        getattr(store, end)(job_id)
    assert store.sweep() == [Bell(job_id, ERASE)]
    store.confirm_erased(job_id)
    assert store.sweep() == []


# keys


def test_delete_erases_every_key(store: WorkStore, redis_client: redis.Redis) -> None:
    job_id = create_planned_job(store, segments=3)
    analyse(store, job_id, 0)
    store.put_segment(claim(store, job_id, 2), create_rows(create_plans(3)[2]), model=MODEL)
    lease = claim(store, job_id, 1)
    assert store.delete(job_id)
    store.confirm_erased(job_id)
    assert redis_client.keys() == []
    assert not store.delete(job_id)
    assert not store.renew(lease)
    assert store.put_segment(lease, create_rows(create_plans(3)[1]), model=MODEL) is Put.REFUSED
    assert not store.advance_stitching(job_id, count_tracks)
    assert redis_client.keys() == []


def test_every_key_expires(store: WorkStore, redis_client: redis.Redis) -> None:
    job_id = create_planned_job(store, segments=3)
    analyse(store, job_id, 0)
    store.put_segment(claim(store, job_id, 2), create_rows(create_plans(3)[2]), model=MODEL)
    claim(store, job_id, 1)
    store.beat("worker")
    assert len(redis_client.keys()) == 11
    assert [key for key in redis_client.scan_iter() if redis_client.pttl(key) < 0] == []


def test_ended_job_vanishes_with_all_its_keys(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, result_ttl_seconds=1)
    job_id = create_planned_job(store, segments=1)
    analyse(store, job_id, 0)
    finish(store, job_id, frames=8)
    assert poll(lambda: store.get(job_id) is None)
    assert redis_client.keys(f"*{job_id}*") == []
    assert store.get_rows(job_id, start=0, limit=10) == ()


# workers


def test_worker_counts_from_its_heartbeat_until_it_leaves(store: WorkStore) -> None:
    assert store.count_workers() == 0
    store.beat("one")
    store.beat("one")
    store.beat("two")
    assert store.count_workers() == 2
    store.leave("one")
    assert store.count_workers() == 1


def test_silent_worker_counts_no_more(redis_client: redis.Redis) -> None:
    store = create_store(redis_client, heartbeat_seconds=SHORT)
    store.beat("one")
    assert poll(lambda: store.count_workers() == 0)


# Redis in trouble


def test_unreachable_redis_is_an_error_of_its_own() -> None:
    with redis.Redis(port=1) as client, pytest.raises(StoreUnavailableError):
        create_job(create_store(client))


def test_full_redis_refuses_whole_steps_and_goes_on_later(store: WorkStore, redis_client: redis.Redis) -> None:
    job_id = create_planned_job(store, segments=1)
    lease = claim(store, job_id)
    rows = create_rows(create_plans(1)[0])
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFullError):
            create_job(store)
        with pytest.raises(StoreFullError):
            store.put_segment(lease, rows, model=MODEL)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert len(store.list_jobs(limit=10)) == 1
    assert store.put_segment(lease, rows, model=MODEL) is Put.LAST


def test_full_redis_still_erases(store: WorkStore, redis_client: redis.Redis) -> None:
    job_id = create_planned_job(store, segments=1)
    redis_client.config_set("maxmemory", 1)
    try:
        assert store.delete(job_id)
    finally:
        redis_client.config_set("maxmemory", 0)
    assert store.sweep() == [Bell(job_id, ERASE)]


def test_scripts_are_sent_again_after_redis_forgot_them(store: WorkStore, redis_client: redis.Redis) -> None:
    create_job(store)
    redis_client.script_flush()
    assert store.get(create_job(store)) is not None
