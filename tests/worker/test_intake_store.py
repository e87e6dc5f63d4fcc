"""What stands in Redis of a video before it is a job, with a real Redis."""

import time

import pytest
import redis

from tests.worker.jobs import poll
from worker.contract import JobRecord
from worker.intake_store import Created, IntakeStore, UploadRecord
from worker.settings import QueueSettings
from worker.store import new_job_id
from worker.work_store import ERASE, Bell, WorkStore

DAY = 24 * 3600


@pytest.fixture
def store(redis_client: redis.Redis) -> IntakeStore:
    return IntakeStore(redis_client, QueueSettings())


def open_upload(
    store: IntakeStore, *, length_bytes: int = 1000, ttl_seconds: float = DAY, owner: str = ""
) -> UploadRecord:
    record = UploadRecord(upload_id=new_job_id(), length_bytes=length_bytes, owner=owner)
    assert store.open_upload(record, ttl_seconds=ttl_seconds, most=100)
    return record


def to_job(upload: UploadRecord) -> JobRecord:
    return JobRecord(job_id=upload.upload_id, owner=upload.owner, size_bytes=upload.length_bytes)


# idempotency keys


def test_key_is_reserved_for_one_request(store: IntakeStore) -> None:
    first, second, of_another = (
        store.reserve("k", owner="a"),
        store.reserve("k", owner="a"),
        store.reserve("k", owner="b"),
    )

    assert first.is_ours
    assert (second.is_ours, second.job_id) == (False, None)
    assert of_another.is_ours


def test_key_becomes_the_name_of_the_job(store: IntakeStore) -> None:
    reservation = store.reserve("k", owner="")
    record = JobRecord(job_id=new_job_id())

    assert store.create_reserved(record, reservation) is Created.CREATED
    assert store.create_reserved(record, reservation) is Created.CREATED  # the answer to the first was lost
    store.free(reservation)

    assert store.reserve("k", owner="").job_id == record.job_id


def test_key_that_was_freed_can_be_reserved(store: IntakeStore) -> None:
    store.free(store.reserve("k", owner=""))

    assert store.reserve("k", owner="").is_ours


def test_reservation_that_was_lost_makes_no_job(store: IntakeStore, redis_client: redis.Redis) -> None:
    slow = store.reserve("k", owner="")
    redis_client.delete(slow.key)
    fast = store.reserve("k", owner="")
    record = JobRecord(job_id=new_job_id())

    assert store.create_reserved(record, slow) is Created.RESERVATION_LOST
    assert store.get(record.job_id) is None
    assert not store.extend(slow)
    assert store.extend(fast)


def test_key_of_a_job_that_is_gone_can_be_reserved(store: IntakeStore, redis_client: redis.Redis) -> None:
    reservation = store.reserve("k", owner="")
    record = JobRecord(job_id=new_job_id())
    store.create_reserved(record, reservation)
    redis_client.delete(f"emoclip:job:{record.job_id}")

    assert store.reserve("k", owner="").is_ours


def test_key_lives_as_long_as_its_job(store: IntakeStore, redis_client: redis.Redis) -> None:
    reservation = store.reserve("k", owner="")
    record = JobRecord(job_id=new_job_id())
    store.create_reserved(record, reservation)

    store.cancel(record.job_id)

    ttls = [redis_client.ttl(name) for name in (reservation.key, f"emoclip:job:{record.job_id}")]
    assert ttls == pytest.approx([DAY, DAY], abs=60)


# resumable uploads


def test_upload_is_complete_with_its_job_only(store: IntakeStore) -> None:
    upload = open_upload(store)
    assert store.put_offset(upload, 999, ttl_seconds=DAY)
    before = store.get_upload(upload.upload_id)

    assert store.create_resumed(to_job(upload)) is Created.CREATED
    assert store.create_resumed(to_job(upload)) is Created.CREATED

    after = store.get_upload(upload.upload_id)
    assert before is not None
    assert after is not None
    assert (before.offset_bytes, before.is_complete) == (999, False)
    assert (after.offset_bytes, after.is_complete) == (1000, True)
    assert len(store.list_jobs(limit=10)) == 1


def test_upload_that_was_dropped_makes_no_job(store: IntakeStore) -> None:
    upload = open_upload(store)
    assert store.drop_upload(upload)

    assert store.create_resumed(to_job(upload)) is Created.UPLOAD_GONE
    assert not store.put_offset(upload, 5, ttl_seconds=DAY)
    assert store.get(upload.upload_id) is None
    assert not store.is_known(upload.upload_id)


def test_upload_that_has_become_a_job_is_not_dropped(store: IntakeStore) -> None:
    upload = open_upload(store)
    store.create_resumed(to_job(upload))

    assert not store.drop_upload(upload)
    assert store.get_upload(upload.upload_id) is not None


def test_uploads_of_an_owner_are_limited(store: IntakeStore) -> None:
    uploads = [open_upload(store, owner="a") for _ in range(2)]
    one_more = UploadRecord(upload_id=new_job_id(), owner="a", length_bytes=1)

    assert not store.open_upload(one_more, ttl_seconds=DAY, most=2)
    store.create_resumed(to_job(uploads[0]))
    assert store.open_upload(one_more, ttl_seconds=DAY, most=2)


def test_expired_uploads_do_not_count(store: IntakeStore) -> None:
    expired = open_upload(store, ttl_seconds=0.01)
    assert poll(lambda: store.get_upload(expired.upload_id) is None)

    upload = UploadRecord(upload_id=new_job_id(), length_bytes=1)
    assert store.open_upload(upload, ttl_seconds=DAY, most=1)


def test_bytes_of_an_expired_upload_are_erased(store: IntakeStore, redis_client: redis.Redis) -> None:
    workers = WorkStore(redis_client, QueueSettings())
    alive, expired = open_upload(store), open_upload(store, ttl_seconds=0.01)
    assert poll(lambda: store.get_upload(expired.upload_id) is None)

    due = workers.sweep()
    workers.confirm_erased(expired.upload_id)

    assert due == [Bell(expired.upload_id, ERASE)]
    assert redis_client.zrange("emoclip:bells", 0, -1) == [f"upload|{alive.upload_id}".encode()]


def test_upload_that_goes_on_is_not_erased_at_its_first_expiry(store: IntakeStore, redis_client: redis.Redis) -> None:
    workers = WorkStore(redis_client, QueueSettings())
    upload = open_upload(store)
    member = f"upload|{upload.upload_id}"
    redis_client.zadd("emoclip:bells", {member: 0})  # due, but meanwhile a piece came

    assert workers.sweep() == []

    due_ms = redis_client.zscore("emoclip:bells", member)
    assert due_ms == pytest.approx((time.time() + DAY) * 1000, abs=60_000)
    assert store.get_upload(upload.upload_id) is not None
    assert store.is_known(upload.upload_id)


def test_every_key_of_an_upload_expires(store: IntakeStore, redis_client: redis.Redis) -> None:
    open_upload(store, owner="a")
    store.create_resumed(to_job(open_upload(store, owner="a")))

    assert [key for key in redis_client.scan_iter("emoclip:*") if redis_client.ttl(key) < 0] == []


@pytest.mark.parametrize("expires", [True, False], ids=["expired", "dropped"])
def test_bells_keep_their_time_to_live_when_their_only_one_is_replaced(
    store: IntakeStore, redis_client: redis.Redis, expires: bool
) -> None:
    upload = open_upload(store, ttl_seconds=0.01 if expires else DAY)

    if expires:
        assert poll(lambda: store.get_upload(upload.upload_id) is None)
        WorkStore(redis_client, QueueSettings()).sweep()
    else:
        store.drop_upload(upload)

    assert redis_client.zrange("emoclip:bells", 0, -1) == [f"erase|{upload.upload_id}".encode()]
    assert redis_client.ttl("emoclip:bells") > DAY


def test_bells_keep_their_time_to_live_when_their_only_upload_goes_on(
    store: IntakeStore, redis_client: redis.Redis
) -> None:
    upload = open_upload(store)
    redis_client.zadd("emoclip:bells", {f"upload|{upload.upload_id}": 0})

    WorkStore(redis_client, QueueSettings()).sweep()

    assert redis_client.ttl("emoclip:bells") > DAY
