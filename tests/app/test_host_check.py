"""To which hosts a service without keys answers: a web page whose name resolves to this machine reads nothing."""

import hashlib
from pathlib import Path

import httpx
import pytest

from app.cli import main
from app.settings import ApiSettings
from tests.app.conftest import CreateServer
from tests.app.uploading import assert_refused


def get(url: str, host: str, *, path: str = "/v1/jobs") -> httpx.Response:
    return httpx.get(url + path, headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8000",
        "localhost.",
        "emoclip.localhost:8000",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.9.9.9:1",
        "[::1]",
        "[::1]:8000",
    ],
)
def test_names_and_addresses_of_this_machine_are_answered(url: str, host: str) -> None:
    assert get(url, host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "192.168.1.7:8000",
        "0.0.0.0:8000",
        "[::]:8000",
        "[::1",
        "[::1]evil.example",
        "localhost:8000:evil.example",
        ":8000",
        "",
    ],
)
def test_other_hosts_are_refused(url: str, host: str) -> None:
    assert_refused(get(url, host), 403, "host_refused")


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics", "/v1/nowhere"])
def test_other_hosts_are_refused_everything(url: str, path: str) -> None:
    assert_refused(get(url, "evil.example", path=path), 403, "host_refused")


def test_refused_host_sends_no_video(url: str) -> None:
    response = httpx.post(f"{url}/v1/jobs", content=b"video", headers={"Host": "evil.example"})

    assert_refused(response, 403, "host_refused")
    assert httpx.get(f"{url}/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost.evil.example:8000", "null", ""])
def test_pages_from_elsewhere_send_no_video(url: str, origin: str) -> None:
    files = {"file": ("a.mp4", b"video")}

    assert_refused(httpx.post(f"{url}/v1/jobs", files=files, headers={"Origin": origin}), 403, "host_refused")
    assert httpx.get(f"{url}/v1/jobs").json()["jobs"] == []


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8000", "https://[::1]"])
def test_pages_of_this_machine_are_answered(url: str, origin: str) -> None:
    assert httpx.get(f"{url}/v1/jobs", headers={"Origin": origin}).status_code == 200


def test_allowed_hosts_are_answered(create_server: CreateServer) -> None:
    url = create_server(allowed_hosts=["Faces.example"])

    assert get(url, "faces.example").status_code == 200
    assert get(url, "faces.EXAMPLE:8443").status_code == 200
    assert_refused(get(url, "other.example"), 403, "host_refused")


@pytest.mark.parametrize("settings", [{"host": "box.local"}, {"host": "0.0.0.0", "published_host": "box.local"}])
def test_name_that_the_service_is_told_to_listen_on_is_answered(
    create_server: CreateServer, settings: dict[str, str]
) -> None:
    assert get(create_server(**settings), "box.local:8000").status_code == 200


def test_service_with_keys_answers_to_every_host(create_server: CreateServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hashlib.sha256(b'secret').hexdigest()}\n")
    url = create_server(api_keys_file=keys)

    assert httpx.get(f"{url}/v1/jobs", headers={"Host": "faces.example", "X-API-Key": "secret"}).status_code == 200
    assert get(url, "faces.example").status_code == 401


@pytest.mark.parametrize("name", ["faces.example:8000", "https://faces.example", "", "*"])
def test_only_a_name_can_be_allowed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOCLIP_ALLOWED_HOSTS", f'["{name}"]')

    assert main(["api"]) == 2
    errors = capsys.readouterr().err
    assert "allowed_hosts" in errors
    assert "such as faces.example" in errors


def test_allowed_hosts_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCLIP_ALLOWED_HOSTS", '["faces.example"]')

    assert ApiSettings().allowed_hosts == ["faces.example"]
