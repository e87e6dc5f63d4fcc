"""/metrics: readable by Prometheus' own parser, true to what happened, of few series, and not for everybody."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import redis
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app.keys import KeysFile
from model.labels import CLIP_FRAMES
from tests.app.conftest import CreateServer
from tests.worker.jobs import MODEL, create_job, create_planned_job, create_plans, create_rows, poll
from worker.contract import ErrorCode, JobFailure
from worker.metrics_store import MetricsStore
from worker.settings import QueueSettings
from worker.stage_clock import SegmentWork, Stage
from worker.work_store import WorkStore

Figures = Mapping[str, float]
WORK = SegmentWork(2.0, {Stage.DECODE: 0.5, Stage.DETECT: 1.5, Stage.NETWORK: 0.25})


def parse(page: str) -> Figures:
    """Every sample by its name and labels, as PromQL writes them."""
    return {
        name_sample(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def name_sample(name: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{inner}}}" if inner else name


@pytest.fixture
def scrape(create_server: CreateServer) -> Callable[[], Figures]:
    """Read the page of a server that has answered nothing yet."""
    url = create_server()
    return lambda: parse(httpx.get(url + "/metrics").raise_for_status().text)


def test_page_of_an_idle_service_is_complete(scrape: Callable[[], Figures]) -> None:
    figures = scrape()

    assert figures["emoclip_store_up"] == 1
    assert figures["emoclip_uploads"] == 0
    assert {figures[f'emoclip_jobs{{state="{state}"}}'] for state in ("queued", "processing")} == {0}
    assert figures["emoclip_queue_age_seconds"] == 0
    assert figures["emoclip_workers"] == 0
    assert figures["emoclip_frames_total"] == 0
    assert {figures[f'emoclip_jobs_failed_total{{code="{code}"}}'] for code in ErrorCode} == {0}
    assert figures["process_resident_memory_bytes"] > 0


def test_page_is_in_the_format_that_is_asked_for(url: str) -> None:
    plain = httpx.get(url + "/metrics")
    modern = httpx.get(url + "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=")
    families = openmetrics.text_string_to_metric_families(modern.text)  # type: ignore[no-untyped-call]  # has no types
    assert list(families)


def test_jobs_are_counted_by_state_from_their_beginning_to_their_end(
    scrape: Callable[[], Figures], store: WorkStore
) -> None:
    queued, canceled, deleted = (create_job(store) for _ in range(3))
    create_planned_job(store, segments=1)
    assert count_jobs(scrape()) == (3, 1)

    store.cancel(canceled)
    store.delete(deleted)
    lease = store.claim_index(queued)
    assert lease is not None
    store.fail(lease, JobFailure(code=ErrorCode.UNDECODABLE, message="No."))

    figures = scrape()
    assert count_jobs(figures) == (0, 1)
    assert figures['emoclip_jobs_ended_total{state="canceled"}'] == 1
    assert figures['emoclip_jobs_ended_total{state="failed"}'] == 1
    assert figures['emoclip_jobs_ended_total{state="succeeded"}'] == 0
    assert figures['emoclip_jobs_failed_total{code="undecodable"}'] == 1


def count_jobs(figures: Figures) -> tuple[float, float]:
    return figures['emoclip_jobs{state="queued"}'], figures['emoclip_jobs{state="processing"}']


def test_age_of_the_queue_is_that_of_its_oldest_job(
    scrape: Callable[[], Figures], store: WorkStore, redis_client: redis.Redis
) -> None:
    old = create_job(store)
    create_job(store)
    redis_client.zincrby("emoclip:queued", -90_000, old)

    assert 90 <= scrape()["emoclip_queue_age_seconds"] < 150
    store.delete(old)
    assert scrape()["emoclip_queue_age_seconds"] < 60


def test_job_that_expired_unnoticed_is_no_longer_counted(
    scrape: Callable[[], Figures], store: WorkStore, redis_client: redis.Redis
) -> None:
    redis_client.delete(f"emoclip:job:{create_job(store)}")

    assert count_jobs(scrape()) == (0, 0)


def test_work_of_all_workers_adds_up(scrape: Callable[[], Figures], store: WorkStore) -> None:
    job_id = create_planned_job(store, segments=2)
    for segment in range(2):
        lease = store.claim_segment(job_id, segment)
        assert lease is not None
        store.put_segment(lease, create_rows(create_plans(2)[segment]), model=MODEL, work=WORK)
        store.put_segment(lease, create_rows(create_plans(2)[segment]), model=MODEL, work=WORK)  # refused: not ours now

    figures = scrape()
    assert figures["emoclip_frames_total"] == 2 * CLIP_FRAMES
    assert figures["emoclip_segments_total"] == 2
    assert figures["emoclip_busy_seconds_total"] == 4
    stages = [figures[f'emoclip_stage_seconds_total{{stage="{stage}"}}'] for stage in ("decode", "detect", "network")]
    assert stages == [1, 3, 0.5]


def test_workers_and_waiting_messages_are_counted(
    scrape: Callable[[], Figures], store: WorkStore, redis_client: redis.Redis, queue: QueueSettings
) -> None:
    store.beat("one")
    store.beat("two")
    redis_client.lpush(queue.queue_name, "a", "b", "c")

    assert (scrape()["emoclip_workers"], scrape()["emoclip_queue_messages"]) == (2, 3)


def test_requests_are_counted_by_route_and_never_by_path(create_server: CreateServer) -> None:
    url = create_server()
    for path in ("/v1/jobs/" + "0" * 32, "/v1/jobs/" + "1" * 32, "/v1/jobs/Anna.mp4", "/Anna", "/healthz"):
        httpx.get(url + path)
    httpx.request("PROPFIND", url + "/v1/jobs")

    page = httpx.get(url + "/metrics").text
    figures = parse(page)
    name = "emoclip_http_requests_total"
    assert figures[f'{name}{{method="GET",route="/v1/jobs/{{job_id}}",status="404"}}'] == 3
    assert figures[f'{name}{{method="GET",route="(none)",status="404"}}'] == 1
    assert figures[f'{name}{{method="GET",route="/healthz",status="200"}}'] == 1
    assert figures[f'{name}{{method="OTHER",route="/v1/jobs",status="405"}}'] == 1
    assert figures['emoclip_http_request_seconds_count{method="GET",route="/v1/jobs/{job_id}"}'] == 3
    assert "Anna" not in page


def test_uploads_are_counted_while_they_arrive(create_server: CreateServer) -> None:
    url = create_server()

    def stall() -> Iterator[bytes]:
        yield b"begin"
        assert poll(lambda: parse(httpx.get(url + "/metrics").text)["emoclip_uploads"] == 1)
        yield b"end"

    assert httpx.post(url + "/v1/jobs", content=stall(), timeout=60).status_code == 202
    assert parse(httpx.get(url + "/metrics").text)["emoclip_uploads"] == 0


def test_page_without_redis_says_so(create_server: CreateServer) -> None:
    url = create_server(queue=QueueSettings(redis_url="redis://127.0.0.1:1/0"))

    figures = parse(httpx.get(url + "/metrics").raise_for_status().text)

    assert figures["emoclip_store_up"] == 0
    assert "emoclip_workers" not in figures


def test_counters_name_no_job_and_expire(store: WorkStore, redis_client: redis.Redis, queue: QueueSettings) -> None:
    job_id = create_job(store)
    store.cancel(job_id)

    assert redis_client.hgetall("emoclip:metrics") == {b"ended:canceled": b"1"}
    assert redis_client.pttl("emoclip:metrics") > 0
    assert MetricsStore(redis_client, queue).read().queued == 0


def test_page_asks_for_a_key_where_keys_are_on_unless_a_setting_says_otherwise(
    create_server: CreateServer, tmp_path: Path
) -> None:
    key = KeysFile(tmp_path / "keys").create("scraper")
    closed = create_server(api_keys_file=tmp_path / "keys")
    opened = create_server(api_keys_file=tmp_path / "keys", metrics_without_key=True)

    assert httpx.get(closed + "/metrics").status_code == 401
    assert httpx.get(closed + "/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert httpx.get(opened + "/metrics").status_code == 200
    assert httpx.get(opened + "/v1/jobs").status_code == 401
