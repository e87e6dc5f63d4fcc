"""The containers for real: built, started, hardened as promised, and the sample sent through them. Needs Docker.

Run by `make test-deploy`; not part of `make test`.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.redis_server import find_free_port

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "emoclip-test"
MAX_API_BYTES = 400_000_000
READY_SECONDS, JOB_SECONDS = 240, 300


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack, and how to look into it."""

    client: httpx.Client
    command: tuple[str, ...]

    def compose(self, *arguments: str) -> str:
        """Run docker compose on this stack; returns its output."""
        return run([*self.command, *arguments])

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        return self.compose("ps", "-q", service).split()

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """Return what Docker knows of a service's containers."""
        return inspect(self.containers(service))


def inspect(containers: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(["docker", "inspect", *containers]))
    return found


def run(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def compose_command() -> tuple[str, ...]:
    """Return `docker compose`, or the older `docker-compose`."""
    assert shutil.which("docker"), "make test-deploy needs Docker"
    has_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    return ("docker", "compose") if has_plugin else ("docker-compose",)


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack with two workers on a free port; gone afterwards, with its volumes."""
    port = find_free_port()
    os.environ["EMOCLIP_PORT"] = str(port)
    command = (*compose_command(), "--project-name", PROJECT, "--file", "docker-compose.yml")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        stack = Stack(client, command)
        try:
            stack.compose("up", "--build", "--detach", "--scale", "worker=2")
            wait_until_ready(stack, workers=2)
            yield stack
        finally:
            if request.session.testsfailed:
                print(stack.compose("logs", "--no-color", "--tail", "40"))  # noqa: T201 - shown with the failure
            stack.compose("down", "--volumes", "--timeout", "90")


def wait_until_ready(stack: Stack, *, workers: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    answer = ""
    while time.monotonic() < deadline:
        try:
            response = stack.client.get("/readyz")
        except httpx.TransportError as error:
            answer = str(error)
        else:
            answer = response.text
            if response.is_success and response.json()["workers"] >= workers:
                return
        time.sleep(0.5)
    raise AssertionError(f"the stack is not ready: {answer}\n{stack.compose('logs', '--no-color', '--tail', '40')}")


def wait_until_healthy(stack: Stack, service: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        states = [container["State"]["Health"]["Status"] for container in stack.inspect(service)]
        if set(states) == {"healthy"}:
            return
        assert time.monotonic() < deadline, f"{service} is {states}"
        time.sleep(1)


def test_sample_goes_through_the_stack(stack: Stack, sample_video: Path) -> None:
    response = stack.client.post("/v1/jobs", content=sample_video.read_bytes())
    assert response.status_code == 202, response.text
    url = response.headers["location"]
    deadline = time.monotonic() + JOB_SECONDS
    while (job := stack.client.get(url).json())["state"] in ("queued", "processing"):
        assert time.monotonic() < deadline, job
        time.sleep(0.5)
    assert job["state"] == "succeeded", job
    rows = stack.client.get(job["links"]["result"]).json()["rows"]
    assert [row["frame"] for row in rows] == list(range(175))
    assert stack.client.delete(url).status_code == 204


@pytest.mark.parametrize("service", ["redis", "api", "worker"])
def test_container_reports_its_health(stack: Stack, service: str) -> None:
    wait_until_healthy(stack, service)


@pytest.mark.parametrize("service", ["redis", "api", "worker"])
def test_container_is_hardened(stack: Stack, service: str) -> None:
    for container in stack.inspect(service):
        host = container["HostConfig"]
        assert container["Config"]["User"] == "emoclip"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0


@pytest.mark.parametrize("service", ["redis", "worker"])
def test_only_the_api_publishes_a_port(stack: Stack, service: str) -> None:
    for container in stack.inspect(service):
        assert not any(container["NetworkSettings"]["Ports"].values())


def test_redis_password_stands_in_no_environment(stack: Stack) -> None:
    password = stack.compose("exec", "-T", "redis", "cat", "/run/emoclip/redis_password").strip()
    assert len(password) >= 32
    containers = [container for service in ("redis", "api", "worker") for container in stack.inspect(service)]
    assert password not in json.dumps(containers)


def test_api_image_is_small_and_has_no_torch(stack: Stack) -> None:
    image = stack.inspect("api")[0]["Image"]
    assert int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image])) < MAX_API_BYTES
    packages = stack.compose("exec", "-T", "api", "sh", "-c", "ls /opt/venv/lib/python*/site-packages").split()
    assert {"torch", "av", "cv2", "numpy"}.isdisjoint(packages)


def test_gpu_override_reserves_a_device() -> None:
    both = ["--file", "docker-compose.yml", "--file", "docker-compose.gpu.yml"]
    output = run([*compose_command(), *both, "config"])
    assert "driver: nvidia" in output
    assert "EMOCLIP_DEVICE: cuda" in output


@pytest.mark.parametrize("service", ["worker", "api", "redis"])
def test_stop_is_clean_and_start_again_works(stack: Stack, service: str) -> None:
    containers = stack.containers(service)
    stack.compose("stop", service)
    assert {container["State"]["ExitCode"] for container in inspect(containers)} == {0}
    stack.compose("start", service)
    wait_until_ready(stack, workers=2)
