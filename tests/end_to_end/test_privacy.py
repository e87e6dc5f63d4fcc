"""What is left of a video and of who sent it, on the disk, in Redis and in the logs: after the end, and after DELETE.

The whole service runs, with an append-only file, an API key and a client of its own address. A job's id is random and
may stand in the logs; nothing that came from the client may.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from app.embedded import Service, run_service
from app.keys import KeysFile
from tests.model.miniature import write_tiny_checkpoint
from tests.videos import face_scene, write_constant_rate
from tests.worker.jobs import poll

OWNER = "owner-canary"
NAME = "name-canary-Zoë.mp4"
SendVideo = Callable[[httpx.Client, bytes], str]
TRACES = ("name-canary", "owner-canary", "path-canary", "emoclip_", "127.0.0.77")
"""Of the client: names of files, its own name, what it put into a path, its key, its address."""
WAIT_SECONDS = 400.0

pytestmark = pytest.mark.timeout(900)  # a whole service starts here, and a machine may be busy


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the service: uploads, Redis' data, logs."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A key of a service whose settings stand in the environment."""
    folder = tmp_path_factory.mktemp("settings")
    key = KeysFile(folder / "keys").create(OWNER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOCLIP_API_KEYS_FILE", str(folder / "keys"))
        patch.setenv("EMOCLIP_WEIGHTS", str(write_tiny_checkpoint(folder / "tiny.safetensors")))
        patch.setenv("EMOCLIP_FORGET_SECONDS", "0.5")
        patch.setenv("EMOCLIP_MIN_FREE_BYTES", "0")
        yield key


@pytest.fixture(scope="module")
def service(directory: Path, key: str) -> Iterator[Service]:
    with run_service(directory) as service:
        yield service


@pytest.fixture
def client(service: Service, key: str) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(local_address="127.0.0.77")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.url, headers=headers, transport=transport, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_constant_rate(tmp_path_factory.mktemp("video") / "face.mp4", 16, scene=face_scene()).read_bytes()


def send(client: httpx.Client, video: bytes) -> str:
    response = client.post("/v1/jobs", files={"video": (NAME, video)}, params={"purpose": "research"})
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    return job_id


def send_resumably(client: httpx.Client, video: bytes) -> str:
    metadata = f"filename {b64encode(NAME.encode()).decode()}"
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(video)), "Upload-Metadata": metadata}
    upload = client.post("/v1/uploads", headers=headers).headers["location"]
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert client.patch(upload, content=video, headers=headers).status_code == 204
    job_id: str = client.get("/v1/jobs").json()["jobs"][0]["id"]
    return job_id


def wait_for_end(client: httpx.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {}

    def has_ended() -> bool:
        job.update(client.get(f"/v1/jobs/{job_id}").json())
        return job["state"] in ("succeeded", "failed", "canceled")

    assert poll(has_ended, seconds=WAIT_SECONDS), job
    return job


def read_redis(service: Service) -> bytes:
    """Everything that Redis holds: names of keys, and values of every type."""
    environment = Path(f"/proc/{service.process_ids['api']}/environ").read_bytes().split(b"\0")
    url = next(entry.partition(b"=")[2] for entry in environment if entry.startswith(b"EMOCLIP_REDIS_URL="))
    with redis.Redis.from_url(url.decode()) as server:
        keys = list(server.scan_iter())
        return b"\n".join(part for key in keys for part in (key, *read_value(server, key)))


def read_value(server: Any, key: bytes) -> list[bytes]:  # redis-py's answers have no useful types
    kind = server.type(key)
    if kind == b"hash":
        return [part for pair in server.hgetall(key).items() for part in pair]
    if kind == b"zset":
        return list(server.zrange(key, 0, -1))
    if kind == b"list":
        return list(server.lrange(key, 0, -1))
    if kind == b"set":
        return list(server.smembers(key))
    return [server.get(key) or b""]


def find_on_disk(directory: Path, text: str) -> list[str]:
    """Files that have the text in their name or in their content."""
    return [
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if text in path.name or (path.is_file() and text.encode() in path.read_bytes())
    ]


def list_uploads(directory: Path) -> list[Path]:
    return list((directory / "media").iterdir())


@pytest.mark.parametrize("send_video", [send, send_resumably])
def test_upload_goes_with_the_jobs_end_and_everything_with_its_deletion(
    send_video: SendVideo, client: httpx.Client, service: Service, directory: Path, video: bytes
) -> None:
    job_id = send_video(client, video)
    job = wait_for_end(client, job_id)
    assert (job["state"], job["upload"]["file_name"]) == ("succeeded", NAME)
    assert poll(lambda: list_uploads(directory) == [], seconds=WAIT_SECONDS)
    assert b"name-canary" in read_redis(service)

    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204

    assert client.get("/v1/jobs").json()["jobs"] == []
    assert poll(lambda: b"name-canary" not in read_redis(service), seconds=1)
    assert poll(lambda: job_id.encode() not in read_redis(service), seconds=WAIT_SECONDS)
    # the append-only file forgets soon after
    assert poll(lambda: find_on_disk(directory, "name-canary") == [], seconds=WAIT_SECONDS)
    assert poll(lambda: {name.partition("/")[0] for name in find_on_disk(directory, job_id)} <= {"logs"})


def test_job_that_is_deleted_on_its_way_leaves_nothing(
    client: httpx.Client, service: Service, directory: Path, video: bytes
) -> None:
    job_id = send(client, video)

    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204

    assert list_uploads(directory) == []
    assert b"name-canary" not in read_redis(service)
    # its message waits in the queue until a worker reads it
    assert poll(lambda: job_id.encode() not in read_redis(service), seconds=WAIT_SECONDS)


def test_logs_tell_nothing_of_the_client(client: httpx.Client, service: Service, key: str, video: bytes) -> None:
    job_id = send(client, video)
    for method, path in (
        ("PUT", "/v1/jobs/path-canary.mp4"),  # curl -T into the folder instead of to the resource
        ("GET", "/path-canary"),
        ("GET", f"/v1/jobs/{job_id}/path-canary"),
        ("GET", "/v1/jobs?cursor=path-canary"),
        ("POST", "/v1/jobs?purpose=path-canary"),
        ("POST", "/v1/jobs?file_name=name-canary.mp4&sample_fps=0"),
    ):
        assert client.request(method, path, content=b"path-canary").status_code in (404, 405, 422)
    client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}-wrong"})
    broken = client.post("/v1/jobs", files={"video": (NAME, b"no video")}).json()["id"]
    assert wait_for_end(client, broken)["state"] == "failed"

    logs = "".join(path.read_text() for path in service.log_directory.iterdir())
    logs += (service.log_directory.parent / "redis.log").read_text()

    assert job_id in logs
    assert f"job {broken}: failed" in logs
    assert [trace for trace in TRACES if trace in logs] == []


@pytest.mark.parametrize("purpose", ["workplace", "education", "Workplace"])
def test_forbidden_purpose_is_refused_with_the_law_that_forbids_it(
    purpose: str, client: httpx.Client, directory: Path, video: bytes
) -> None:
    response = client.post("/v1/jobs", content=video, params={"purpose": purpose})

    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "refused_purpose")
    for words in ("Regulation (EU) 2024/1689", "Article 5(1)(f)", "workplace", "education", "medical or safety"):
        assert words in problem["detail"]


def test_purpose_is_shown_with_the_job(client: httpx.Client, video: bytes) -> None:
    job_id = send(client, video)

    assert client.get(f"/v1/jobs/{job_id}").json()["options"]["purpose"] == "research"
