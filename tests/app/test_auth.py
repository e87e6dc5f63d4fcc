"""API keys: who gets in, whose jobs they see, and that nothing under /v1 stands open."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.auth import AcceptedKeys
from app.keys import KeysFile
from app.main import create_app
from app.settings import ApiSettings
from tests.app.conftest import CreateServer, run_server
from tests.worker.jobs import poll
from worker.settings import QueueSettings

DIGEST = hashlib.sha256(b"secret of alice").hexdigest()
MISSING = "0" * 32
TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
"""What an operation on an upload needs to be understood; the others do not mind."""


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


def list_operations() -> list[tuple[str, str]]:
    """Every operation that the API documents under /v1, so that none is forgotten here."""
    document: dict[str, Any] = create_app(ApiSettings(), queue=QueueSettings()).openapi()
    return [
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
        if path.startswith("/v1/")
    ]


OPERATIONS = list_operations()


# who gets in


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
def test_unknown_key_stays_out(url: str, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]

    assert_stays_out(httpx.get(url + "/v1/jobs", headers=encoded))


@pytest.mark.parametrize(("method", "path"), [*OPERATIONS, ("GET", "/v1/nowhere"), ("GET", "/metrics")])
def test_nothing_answers_without_a_key(url: str, method: str, path: str) -> None:
    assert_stays_out(httpx.request(method, url + path.replace("{", "").replace("}", "")))


def assert_stays_out(response: httpx.Response) -> None:
    assert response.status_code == 401
    assert response.request.method == "HEAD" or response.json()["code"] == "unauthorized"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/docs"])
def test_service_pages_ask_for_no_key(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 200


@pytest.mark.parametrize("root_path", ["/faces", "/v", "/v1"])
def test_key_is_asked_for_under_the_prefix_of_a_proxy(queue: QueueSettings, keys: Path, root_path: str) -> None:
    app = create_app(ApiSettings(api_keys_file=keys), queue=queue)
    with run_server(app, root_path=root_path) as url:
        assert [httpx.get(url + path).status_code for path in ("/v1/jobs", "/metrics")] == [401, 401]


# whose jobs


@pytest.mark.parametrize(("method", "path"), [operation for operation in OPERATIONS if "{" in operation[1]])
def test_things_of_others_look_like_things_that_are_not_there(
    url: str, queue: QueueSettings, method: str, path: str
) -> None:
    own = url + path.format(**create_things(url))

    foreign = ask(method, own)
    missing = ask(method, url + path.format(job_id=MISSING, upload_id=MISSING))

    assert foreign == missing
    assert foreign["status"] == 404
    # and it is still there for its owner
    assert httpx.get(f"{url}/v1/jobs", headers=bearer("alice")).json()["jobs"]


def create_things(url: str) -> dict[str, str]:
    """Make, as alice, one of everything that a path can name."""
    job = httpx.post(url + "/v1/jobs", content=b"x", headers=bearer("alice"))
    upload = httpx.post(
        url + "/v1/uploads", headers={**bearer("alice"), "Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    )
    return {"job_id": job.json()["id"], "upload_id": upload.headers["location"].rpartition("/")[2]}


def ask(method: str, url: str) -> dict[str, Any]:
    """Ask as bob; what the answer says, without what differs between any two answers."""
    response = httpx.request(method, url, headers={**bearer("bob"), **TUS})
    problem = response.json() if response.content else {}
    return {**problem, "status": response.status_code, "request_id": None}


def test_list_holds_only_jobs_of_the_key(url: str, queue: QueueSettings) -> None:
    create_things(url)

    assert len(httpx.get(url + "/v1/jobs", headers=bearer("alice")).json()["jobs"]) == 1
    assert httpx.get(url + "/v1/jobs", headers=bearer("bob")).json()["jobs"] == []


# a file that changes


def test_revoked_key_stops_working_and_a_new_one_works_without_a_restart(
    create_server: CreateServer, tmp_path: Path
) -> None:
    file = KeysFile(tmp_path / "keys")
    old = file.create("alice")
    url = create_server(api_keys_file=tmp_path / "keys")
    assert get_status(url, old) == 200

    new = file.create("alice")
    assert poll(lambda: get_status(url, new) == 200)
    file.revoke(file.list_keys()[0].id)

    assert poll(lambda: get_status(url, old) == 401)
    assert get_status(url, new) == 200


def test_keys_that_all_go_close_the_service(
    create_server: CreateServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    key = KeysFile(path).create("alice")
    url = create_server(api_keys_file=path)
    assert get_status(url, key) == 200

    with caplog.at_level(logging.ERROR, logger="app.auth"):
        path.unlink()
        assert poll(lambda: get_status(url, key) == 401)

    assert httpx.get(url + "/v1/jobs").status_code == 401
    assert "nobody is let in" in caplog.text


def test_line_that_becomes_no_key_is_ignored_and_the_others_count(
    create_server: CreateServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    alice, bob = KeysFile(path).create("alice"), KeysFile(path).create("bob")
    url = create_server(api_keys_file=path)

    with caplog.at_level(logging.ERROR, logger="app.auth"):
        path.write_text(path.read_text().replace("alice ", ""))
        assert poll(lambda: get_status(url, alice) == 401)

    assert get_status(url, bob) == 200
    assert "line 1 is ignored" in caplog.text


def get_status(url: str, key: str) -> int:
    return httpx.get(url + "/v1/jobs", headers={"X-API-Key": key}).status_code


@pytest.mark.parametrize("line", ["alice", f"alice {DIGEST[:-1]}", DIGEST, f"alice {DIGEST.upper()}", "", "# nothing"])
def test_unusable_file_of_keys_is_refused_at_the_start(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(line)

    with pytest.raises(ValueError, match="keys"):
        AcceptedKeys(file)
