"""The containers for real: built, started, hardened as promised, and the sample sent through them. Needs Docker.

Run by `make test-deploy`; not part of `make test`.
"""

import ctypes
import hashlib
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
MAX_API_BYTES = 700_000_000
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
        assert host["MemorySwap"] == host["Memory"], "nothing in memory may reach a swap file"
        assert host["PidsLimit"] > 0
        assert host["IpcMode"] == "private"
        assert {"Name": "core", "Hard": 0, "Soft": 0} in host["Ulimits"]
        assert set(host["Tmpfs"]) == {"/tmp"}
        assert {"noexec", "nosuid", "nodev"} <= set(host["Tmpfs"]["/tmp"].split(","))
        assert host["LogConfig"]["Config"]["max-size"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"


@pytest.mark.parametrize(
    ("service", "writable"),
    [
        ("redis", {"/var/lib/emoclip/redis", "/run/emoclip"}),
        ("api", {"/var/lib/emoclip/media"}),
        ("worker", {"/var/lib/emoclip/media"}),
    ],
)
def test_container_can_write_to_its_own_volumes_alone(stack: Stack, service: str, writable: set[str]) -> None:
    for container in stack.inspect(service):
        mounts = container["Mounts"]
        assert {mount["Type"] for mount in mounts} == {"volume"}, "no directory or socket of the host"
        assert {mount["Destination"] for mount in mounts if mount["RW"]} == writable
    script = "for file in /opt/x /etc/x /run/x /usr/x; do touch $file 2>/dev/null && echo $file; done; echo end"
    assert stack.compose("exec", "-T", service, "sh", "-c", script).split() == ["end"]


def test_processes_of_a_container_have_neither_root_nor_capabilities(stack: Stack) -> None:
    for service in ("redis", "api", "worker"):
        status = stack.compose("exec", "-T", service, "cat", "/proc/1/status")
        fields = dict(line.split(":", 1) for line in status.splitlines())
        assert fields["Uid"].split() == ["10001"] * 4
        assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert int(fields["NoNewPrivs"]) == 1
        assert int(fields["Seccomp"]) == 2, "Docker's own filter of system calls holds"


def test_key_is_made_by_one_command_and_only_its_hash_is_kept(stack: Stack) -> None:
    key = stack.compose("run", "--rm", "-T", "keys", "create", "alice").strip()
    assert key.startswith("emoclip_")
    kept = stack.compose("exec", "-T", "api", "cat", "/run/emoclip-keys/api_keys")
    assert kept == f"alice {hashlib.sha256(key.encode()).hexdigest()}\n"
    assert stack.compose("run", "--rm", "-T", "keys", "revoke", "alice").startswith("revoked ")


def test_webhook_secret_is_made_by_one_command_for_the_api_alone(stack: Stack) -> None:
    secret = stack.compose("run", "--rm", "-T", "keys", "webhook-secret").strip()
    path = "/run/emoclip-keys/webhook_secret"
    assert stack.compose("exec", "-T", "api", "cat", path).split() == [secret]
    code = f"import pathlib, app.webhook_sender as w; print(len(w.read_webhook_secrets(pathlib.Path({path!r}))))"
    assert stack.compose("exec", "-T", "api", "python", "-c", code).strip() == "1"
    for service in ("redis", "worker"):
        assert "/run/emoclip-keys" not in {
            mount["Destination"] for container in stack.inspect(service) for mount in container["Mounts"]
        }


@pytest.mark.parametrize(
    "published", [[], ["--env", "EMOCLIP_PUBLISHED_HOST=0.0.0.0"]], ids=["by listening", "by port"]
)
def test_api_that_others_could_reach_does_not_start_without_keys(stack: Stack, published: list[str]) -> None:
    command = ["docker", "run", "--rm", *published, stack.inspect("api")[0]["Image"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "EMOCLIP_API_KEYS_FILE" in done.stderr
    assert "emoclip keys create" in done.stderr


@pytest.mark.parametrize("service", ["redis", "worker"])
def test_only_the_api_publishes_a_port(stack: Stack, service: str) -> None:
    for container in stack.inspect(service):
        assert not any(container["NetworkSettings"]["Ports"].values())


def test_api_is_published_on_loopback_alone(stack: Stack) -> None:
    (container,) = stack.inspect("api")
    ports = container["NetworkSettings"]["Ports"]
    assert [place["HostIp"] for places in ports.values() for place in places or ()] == ["127.0.0.1"]


@pytest.mark.parametrize("service", ["redis", "worker"])
def test_what_reads_strangers_files_has_no_way_out(stack: Stack, service: str) -> None:
    for container in stack.inspect(service):
        networks = list(container["NetworkSettings"]["Networks"])
        internal = run(["docker", "network", "inspect", "--format", "{{.Internal}}", *networks]).split()
        assert internal == ["true"]


def test_redis_refuses_whoever_lacks_the_password(stack: Stack) -> None:
    answer = stack.compose("exec", "-T", "redis", "redis-cli", "-h", "redis", "ping")
    assert "NOAUTH" in answer


def test_redis_password_is_a_file_of_its_user_alone(stack: Stack) -> None:
    mode = stack.compose("exec", "-T", "redis", "stat", "-c", "%a %U", "/run/emoclip/redis_password")
    assert mode.split() == ["600", "emoclip"]


def test_worker_decodes_inside_landlock_where_the_kernel_has_it(stack: Stack) -> None:
    has_landlock = int(ctypes.CDLL(None).syscall(444, None, 0, 1)) >= 4  # landlock_create_ruleset: version
    logs = stack.compose("logs", "--no-color", "worker")
    assert ("the decoder process is held by resource limits and whitelists, but" in logs) != has_landlock


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


def test_api_image_has_what_the_api_imports_late(stack: Stack) -> None:
    code = "import pyarrow.parquet, prometheus_client, importlib.resources as r; print(r.files('plotly').is_dir())"
    assert stack.compose("exec", "-T", "api", "python", "-c", code).strip() == "True"


def test_images_carry_no_secret(stack: Stack) -> None:
    password = stack.compose("exec", "-T", "redis", "cat", "/run/emoclip/redis_password").strip()
    for service in ("redis", "api", "worker"):
        image = stack.inspect(service)[0]["Image"]
        assert password not in run(["docker", "history", "--no-trunc", image])
        empty = run(
            ["docker", "run", "--rm", "--entrypoint", "find", image, "/run/emoclip", "/run/emoclip-keys", "-type", "f"]
        )
        assert empty == ""


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
