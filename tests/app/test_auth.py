"""API keys: who gets in, whose jobs they see, and that nothing under /v1 stands open."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.auth import read_api_keys
from app.main import create_app
from app.settings import ApiSettings
from tests.app.conftest import run_server
from worker.settings import QueueSettings

DIGEST = hashlib.sha256(b"secret of alice").hexdigest()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    bob = hashlib.sha256(b"secret of bob").hexdigest()
    file.write_text(f"# team\nalice {DIGEST}\n\nbob the second {bob}\n")
    return file


@pytest.fixture(scope="module")
def url(session_queue: QueueSettings, keys: Path) -> Iterator[str]:
    """A server that asks for keys."""
    with run_server(create_app(ApiSettings(min_free_bytes=0, api_keys_file=keys), queue=session_queue)) as url:
        yield url


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer secret of {name}"}


@pytest.mark.parametrize(
    "headers", [bearer("alice"), {"X-API-Key": "secret of alice"}, {"Authorization": "bearer secret of alice"}]
)
def test_known_key_gets_in(url: str, headers: dict[str, str]) -> None:
    assert httpx.get(url + "/v1/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("mallory"),
        {"X-API-Key": ""},
        {"X-API-Key": DIGEST},
        {"Authorization": "Basic YTpi"},
        {"X-API-Key": "ü"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs"),
        ("GET", "/v1/jobs/x/frames"),
        ("DELETE", "/v1/jobs/x"),
        ("GET", "/v1/nowhere"),
    ],
)
def test_unknown_key_stays_out(url: str, method: str, path: str, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]

    response = httpx.request(method, url + path, headers=encoded)

    assert response.status_code == 401
    assert response.json()["code"] == "unauthorized"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/docs"])
def test_service_pages_ask_for_no_key(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 200


def test_key_is_asked_for_under_the_prefix_of_a_proxy(queue: QueueSettings, keys: Path) -> None:
    with run_server(create_app(ApiSettings(api_keys_file=keys), queue=queue), root_path="/faces") as url:
        assert httpx.get(url + "/v1/jobs").status_code == 401


def test_jobs_of_others_look_like_jobs_that_are_not_there(url: str, queue: QueueSettings) -> None:
    job_id = httpx.post(url + "/v1/jobs", content=b"x", headers=bearer("alice")).json()["id"]
    path = f"{url}/v1/jobs/{job_id}"

    assert httpx.get(path, headers=bearer("alice")).status_code == 200
    for method, part in (("GET", ""), ("GET", "/frames"), ("GET", "/result"), ("DELETE", "")):
        assert httpx.request(method, path + part, headers=bearer("bob")).json()["code"] == "job_not_found"
    assert httpx.get(url + "/v1/jobs", headers=bearer("bob")).json()["jobs"] == []
    assert httpx.get(path, headers=bearer("alice")).status_code == 200


@pytest.mark.parametrize("line", ["alice", f"alice {DIGEST[:-1]}", DIGEST, f"alice {DIGEST.upper()}", "", "# nothing"])
def test_unusable_file_of_keys_is_refused_at_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(line)

    with pytest.raises(ValueError, match="keys"):
        read_api_keys(file)
