"""What happens to uploads when the API is killed, and when the disk is really full."""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis
from tusclient.client import TusClient

from tests.app.api_process import ApiProcess, run_valve
from tests.app.uploading import VIDEO, assert_refused, iter_pieces, wait_until
from worker.settings import QueueSettings

LARGE_VIDEO = os.urandom(12_000_000)
VERSION = {"Tus-Resumable": "1.0.0"}

pytestmark = pytest.mark.timeout(600)  # processes are started, and a machine may be busy


@pytest.fixture
def api(queue: QueueSettings, tmp_path: Path) -> Iterator[ApiProcess]:
    """An API process."""
    api = ApiProcess(queue, tmp_path / "api.log")
    try:
        api.start()
        yield api
    finally:
        api.stop()


@pytest.fixture
def small_disk(queue: QueueSettings, tmp_path: Path) -> Iterator[ApiProcess]:
    """An API process whose uploads lie on a file system of two mebibytes, which only it sees and which ends with it."""
    media_dir = tmp_path / "media"
    media_dir.mkdir()
    mount = f'mount -t tmpfs -o size=2m tmpfs "{media_dir}" && exec "$@"'
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*within, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a full disk needs a mount of one's own, and unshare(1) may not make one here")
    api = ApiProcess(queue.model_copy(update={"media_dir": media_dir}), tmp_path / "api.log", within)
    try:
        api.start()
        yield api
    finally:
        api.stop()


def list_uploads(api: ApiProcess) -> list[Path]:
    """What lies on the disk as the process sees it."""
    assert api.process is not None
    return list(Path(f"/proc/{api.process.pid}/root{api.queue.media_dir}").iterdir())


def test_tus_client_goes_on_after_the_api_was_killed_during_a_piece(
    api: ApiProcess, queue: QueueSettings, redis_client: redis.Redis
) -> None:
    with run_valve(api.port, pass_bytes=10_000_000) as valve, ThreadPoolExecutor(1) as pool:
        uploader = TusClient(f"http://127.0.0.1:{valve.port}/v1/uploads").uploader(
            file_stream=io.BytesIO(LARGE_VIDEO), retries=150, retry_delay=1
        )
        uploading = pool.submit(uploader.upload)
        wait_until(lambda: get_confirmed(redis_client) > 0)
        confirmed = get_confirmed(redis_client)
        api.kill()
        api.start()
        valve.open()
        uploading.result()

    upload_id = str(uploader.url).rpartition("/")[2]
    job = httpx.get(f"{api.url}/v1/jobs/{upload_id}").json()
    assert 0 < confirmed < len(LARGE_VIDEO)
    assert job["upload"]["size_bytes"] == len(LARGE_VIDEO)
    assert (queue.media_dir / upload_id / "source").read_bytes() == LARGE_VIDEO
    assert [path.name for path in queue.media_dir.iterdir()] == [upload_id]
    assert redis_client.llen(queue.queue_name) == 1


def test_disk_that_is_full_in_the_middle_of_a_video_is_no_fault_of_the_client(
    small_disk: ApiProcess, redis_client: redis.Redis
) -> None:
    response = httpx.post(small_disk.url + "/v1/jobs", content=iter_pieces(), timeout=60)  # no length: no early refusal
    after = list_uploads(small_disk)
    smaller = httpx.post(small_disk.url + "/v1/jobs", content=VIDEO[:1_500_000], timeout=60)

    assert_refused(response, 507, "storage_full")
    assert int(response.headers["retry-after"]) >= 1
    assert after == []
    assert smaller.status_code == 202
    assert [path.name for path in list_uploads(small_disk)] == [smaller.json()["id"]]
    assert len(redis_client.keys("emoclip:job:*")) == 1


def test_disk_that_is_full_in_the_middle_of_a_piece_keeps_what_there_is(
    small_disk: ApiProcess, redis_client: redis.Redis
) -> None:
    uploads_url = small_disk.url + "/v1/uploads"
    opened = [
        httpx.post(uploads_url, headers={**VERSION, "Upload-Length": "1500000"}).headers["location"] for _ in range(2)
    ]
    piece = {**VERSION, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    first, second = (small_disk.url + location for location in opened)

    part = httpx.patch(first, content=VIDEO[:1_400_000], headers=piece, timeout=60)
    refused = httpx.patch(second, content=VIDEO[:1_500_000], headers=piece, timeout=60)
    httpx.delete(first, headers=VERSION)
    later = httpx.patch(second, content=VIDEO[:1_500_000], headers=piece, timeout=60)

    assert part.status_code == 204
    assert_refused(refused, 507, "storage_full")
    assert "retry-after" in refused.headers
    assert later.status_code == 204
    assert "emoclip-job" in later.headers


def get_confirmed(client: redis.Redis) -> int:
    """How far the only upload is known to have come."""
    return max((int(client.hget(key, "offset") or 0) for key in client.scan_iter("emoclip:upload:*")), default=0)
