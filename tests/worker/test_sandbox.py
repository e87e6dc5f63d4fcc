"""The sandbox, tried from the inside: every test closes it in a process of its own and then does what is forbidden."""

import ctypes
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTER = """
import errno, os, resource, socket, sys
from worker.sandbox import enter_sandbox
report = enter_sandbox(memory_bytes=64 << 20, cpu_seconds=1)
"""


def run_inside(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process that has closed the sandbox around itself."""
    return subprocess.run(
        [sys.executable, "-c", ENTER + code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30
    )


@pytest.fixture(scope="module")
def landlock_abi() -> int:
    abi = int(ctypes.CDLL(None).syscall(444, None, 0, 1))
    if abi < 1:
        pytest.skip("this kernel has no Landlock")
    return abi


def test_enter_sandbox_reports_the_kernels_landlock(landlock_abi: int) -> None:
    done = run_inside("print(report.landlock_abi, report.denies_files, report.denies_tcp)")

    assert done.stdout.split() == [str(landlock_abi), "True", str(landlock_abi >= 4)]


@pytest.mark.usefixtures("landlock_abi")
@pytest.mark.parametrize("path", ["/etc/hostname", "/proc/self/environ", str(ROOT / "pyproject.toml")])
def test_sandbox_denies_reading_a_file(path: str) -> None:
    done = run_inside("open(sys.argv[1])", path)

    assert "PermissionError" in done.stderr


@pytest.mark.usefixtures("landlock_abi")
def test_sandbox_denies_creating_a_file(tmp_path: Path) -> None:
    done = run_inside("open(sys.argv[1], 'w')", str(tmp_path / "new"))

    assert "PermissionError" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("landlock_abi")
def test_sandbox_denies_starting_a_program() -> None:
    done = run_inside("os.execv('/bin/true', ['true'])")

    assert "PermissionError" in done.stderr


def test_sandbox_denies_tcp(landlock_abi: int) -> None:
    if landlock_abi < 4:
        pytest.skip(f"Landlock {landlock_abi} does not know TCP")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)

        done = run_inside("socket.create_connection(('127.0.0.1', int(sys.argv[1])))", str(listener.getsockname()[1]))

        assert "PermissionError" in done.stderr
        with pytest.raises(TimeoutError):
            listener.accept()


def test_sandbox_denies_writing_to_an_open_file(tmp_path: Path) -> None:
    code = ENTER.replace("report =", "file = open(sys.argv[1], 'wb', buffering=0)\nreport =") + "file.write(b'x')"

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "file")], cwd=ROOT, capture_output=True, text=True, timeout=30
    )

    # Python ignores SIGXFSZ and sees the error instead
    assert "File too large" in done.stderr
    assert (tmp_path / "file").stat().st_size == 0


def test_sandbox_denies_memory_above_the_limit() -> None:
    done = run_inside("bytearray(32 << 20); bytearray(128 << 20)")

    assert "MemoryError" in done.stderr


def test_sandbox_ends_a_process_that_uses_up_its_processor_time() -> None:
    done = run_inside("while True: pass")

    assert done.returncode == -signal.SIGXCPU


def test_sandbox_leaves_no_core_and_few_descriptors() -> None:
    done = run_inside("print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))")

    assert done.stdout.strip() == "(0, 0) (16, 16)"


def test_sandbox_forbids_new_privileges() -> None:
    get_no_new_privileges = 39  # prctl option

    code = "import ctypes; print(ctypes.CDLL(None).prctl(int(sys.argv[1]), 0, 0, 0, 0))"
    done = run_inside(code, str(get_no_new_privileges))

    assert done.stdout.strip() == "1"
