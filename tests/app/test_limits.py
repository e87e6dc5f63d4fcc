"""Limits of an API key: exact under concurrency, given back when unused, and nobody else's."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis

from app.errors import ApiError, DailyBytesError, RateLimitedError, TooManyJobsError
from app.keys import KeysFile
from app.limits import KeyLimits, LimitBook
from app.settings import ApiSettings
from tests.app.conftest import CreateServer
from tests.app.stored_jobs import create_job
from worker.settings import QueueSettings
from worker.store import new_job_id
from worker.work_store import WorkStore

OWNER = "alice"
DAY_SECONDS = 24 * 3600


def create_book(client: redis.Redis, *, requests: int = 0, jobs: int = 0, day_bytes: int = 0) -> LimitBook:
    return LimitBook(client, KeyLimits(requests_per_minute=requests, open_jobs=jobs, bytes_per_day=day_bytes))


def admit(book: LimitBook, upload_id: str = "", *, size_bytes: int = 0, owner: str = OWNER) -> str:
    upload_id = upload_id or new_job_id()
    book.admit(owner, upload_id, size_bytes=size_bytes, ttl_seconds=60)
    return upload_id


def count_outcomes(act: Callable[[], object], *, times: int) -> Counter[type[ApiError] | None]:
    """What happened to so many calls at the same time: an error's class, None for none."""

    def attempt(_number: int) -> type[ApiError] | None:
        try:
            act()
        except ApiError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(16) as threads:
        return Counter(threads.map(attempt, range(times)))


# requests


@pytest.mark.parametrize("limit", [1, 7, 60])
def test_exactly_as_many_requests_get_through_at_once(redis_client: redis.Redis, limit: int) -> None:
    book = create_book(redis_client, requests=limit)

    outcomes = count_outcomes(lambda: book.take_request(OWNER), times=limit + 20)

    # a bucket fills while the test runs: 60 a minute is one a second
    assert limit <= outcomes[None] <= limit + 10
    assert outcomes[RateLimitedError] == limit + 20 - outcomes[None]


def test_refused_request_says_when_there_is_room(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, requests=2)
    book.take_request(OWNER)
    book.take_request(OWNER)

    with pytest.raises(RateLimitedError, match="2 requests a minute") as refusal:
        book.take_request(OWNER)

    assert refusal.value.retry_seconds
    assert 1 <= refusal.value.retry_seconds <= 30


def test_room_comes_back_with_time(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, requests=2)
    book.take_request(OWNER)
    book.take_request(OWNER)
    redis_client.expire(name := f"emoclip:limits:requests:{OWNER}", 0)  # what the minute that follows does

    book.take_request(OWNER)

    assert 0 < redis_client.pttl(name) <= 30_000


def test_limits_of_one_key_are_not_those_of_another(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, requests=1, jobs=1, day_bytes=10)
    book.take_request(OWNER)
    admit(book, size_bytes=10)

    book.take_request("bob")
    admit(book, size_bytes=10, owner="bob")


def test_limits_that_are_off_and_services_without_keys_leave_no_trace(redis_client: redis.Redis) -> None:
    for book, owner in (
        (create_book(redis_client), OWNER),
        (create_book(redis_client, requests=1, jobs=1, day_bytes=1), ""),
    ):
        for _ in range(3):
            book.take_request(owner)
            admit(book, size_bytes=5, owner=owner)

    assert redis_client.keys() == []


# jobs on their way


def test_exactly_as_many_jobs_get_through_at_once(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, jobs=5)

    assert count_outcomes(lambda: admit(book), times=40) == {None: 5, TooManyJobsError: 35}


def test_job_counts_until_it_ends_or_is_deleted(redis_client: redis.Redis, store: WorkStore) -> None:
    book = create_book(redis_client, jobs=2)
    ended, deleted = (create_job(store, owner=OWNER) for _ in range(2))
    with pytest.raises(TooManyJobsError, match="2 jobs"):
        admit(book)

    store.cancel(ended)
    store.delete(deleted)

    assert count_outcomes(lambda: admit(book), times=4) == {None: 2, TooManyJobsError: 2}


def test_upload_that_becomes_a_job_counts_once(redis_client: redis.Redis, store: WorkStore) -> None:
    book = create_book(redis_client, jobs=2)
    admit(book)
    job_id = create_job(store, owner=OWNER)

    admit(book, job_id)
    book.release(OWNER, job_id, refund_bytes=0)  # too late: it is a job

    with pytest.raises(TooManyJobsError):
        admit(book)


def test_upload_whose_process_died_stops_counting(redis_client: redis.Redis) -> None:
    # its time is over at once: how long that takes in earnest is not the question
    book = create_book(redis_client, jobs=1)
    book.admit(OWNER, new_job_id(), size_bytes=0, ttl_seconds=0)

    assert count_outcomes(lambda: admit(book), times=1) == {None: 1}


def test_job_that_expired_on_its_way_stops_counting(redis_client: redis.Redis, store: WorkStore) -> None:
    book = create_book(redis_client, jobs=1)
    redis_client.delete(f"emoclip:job:{create_job(store, owner=OWNER)}")

    admit(book)


# bytes


def test_exactly_as_many_bytes_get_through_at_once(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, day_bytes=1000)

    assert count_outcomes(lambda: admit(book, size_bytes=300), times=20) == {None: 3, DailyBytesError: 17}


def test_bytes_that_were_not_used_are_given_back(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, day_bytes=1000)
    erased = admit(book, size_bytes=1000)
    book.release(OWNER, erased, refund_bytes=600)

    assert count_outcomes(lambda: admit(book, size_bytes=300), times=3) == {None: 2, DailyBytesError: 1}


def test_refused_bytes_say_when_there_is_room(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, day_bytes=1000)
    admit(book, size_bytes=1000)

    with pytest.raises(DailyBytesError, match="1,000 bytes a day") as refusal:
        admit(book, size_bytes=500)

    assert refusal.value.retry_seconds == pytest.approx(DAY_SECONDS / 2, abs=200)


def test_upload_is_charged_with_what_arrived(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, jobs=1, day_bytes=1000)

    async def upload() -> None:
        async with book.admitted(OWNER, new_job_id(), size_bytes=1000, ttl_seconds=60) as admission:
            admission.size_bytes = 100

    asyncio.run(upload())

    with pytest.raises(TooManyJobsError):
        admit(book)
    admit(create_book(redis_client, day_bytes=1000), size_bytes=900)


def test_upload_that_fails_is_charged_with_nothing(redis_client: redis.Redis) -> None:
    book = create_book(redis_client, jobs=1, day_bytes=1000)

    async def upload() -> None:
        async with book.admitted(OWNER, new_job_id(), size_bytes=1000, ttl_seconds=60):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(upload())

    admit(book, size_bytes=1000)


# through the API


@pytest.fixture
def key(tmp_path: Path) -> str:
    return KeysFile(tmp_path / "keys").create(OWNER)


@pytest.fixture
def create_client(create_server: CreateServer, tmp_path: Path, key: str) -> Callable[..., httpx.Client]:
    def create(**settings: object) -> httpx.Client:
        url = create_server(api_keys_file=tmp_path / "keys", **settings)
        return httpx.Client(base_url=url, headers={"X-API-Key": key}, trust_env=False)

    return create


def assert_limited(response: httpx.Response, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (429, code)
    assert int(response.headers["Retry-After"]) >= 1


def test_api_refuses_one_request_too_many(create_client: Callable[..., httpx.Client]) -> None:
    with create_client(max_requests_per_minute=2) as client:
        assert [client.get("/v1/jobs").status_code for _ in range(2)] == [200, 200]
        assert_limited(client.get("/v1/jobs"), "rate_limited")
        assert client.get("/healthz").status_code == 200
        # who has no key can use up nobody's
        assert client.get("/v1/jobs", headers={"X-API-Key": "?"}).status_code == 401


def test_api_refuses_one_job_too_many_and_takes_it_when_one_is_gone(
    create_client: Callable[..., httpx.Client],
) -> None:
    with create_client(max_open_jobs=1) as client:
        first = client.post("/v1/jobs", content=b"video").json()["id"]
        assert_limited(client.post("/v1/jobs", content=b"video"), "too_many_jobs")
        client.delete(f"/v1/jobs/{first}")
        assert client.post("/v1/jobs", content=b"video").status_code == 202


def test_api_counts_the_bytes_of_videos(create_client: Callable[..., httpx.Client]) -> None:
    with create_client(max_bytes_per_day=1000, max_upload_bytes=1000) as client:
        assert client.post("/v1/jobs", content=bytes(400)).status_code == 202
        assert client.post("/v1/jobs", files={"video": bytes(400)}).status_code == 202
        assert client.post("/v1/jobs", content=b"").status_code == 422
        assert_limited(client.post("/v1/jobs", content=bytes(300)), "daily_bytes")
        assert_limited(client.post("/v1/jobs", content=iter([b"x"])), "daily_bytes")  # no length: counts as the largest
        assert client.post("/v1/jobs", content=bytes(100)).status_code == 202


def test_redis_that_is_down_is_named_as_such(create_server: CreateServer, tmp_path: Path, key: str) -> None:
    url = create_server(api_keys_file=tmp_path / "keys", queue=QueueSettings(redis_url="redis://127.0.0.1:1/0"))
    response = httpx.get(url + "/v1/jobs", headers={"X-API-Key": key})
    assert (response.status_code, response.json()["code"]) == (503, "queue_unavailable")


def test_default_limit_lets_a_hundred_jobs_be_polled_twice_in_three_seconds() -> None:
    assert ApiSettings().max_requests_per_minute >= 100 * 60 * 2 / 3
