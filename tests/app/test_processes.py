"""Children end with their parent, however it ends, and take what they started with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.processes import start_process, stop_process, tail_text

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def wait_for_text(log: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (text := tail_text(log)).endswith("."):
            return text
        time.sleep(0.02)
    raise AssertionError(f"nothing was written to {log}")


def is_running(process_id: int) -> bool:
    try:
        # a killed process that nobody has waited for still has its number; the state tells
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(process_id: int) -> None:
    deadline = time.monotonic() + 30
    while is_running(process_id):
        assert time.monotonic() < deadline, f"process {process_id} is still there"
        time.sleep(0.02)


def test_start_process_hands_over_input_and_environment(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read() + os.environ['WHO'] + '.')"
    process = start_process(
        [sys.executable, "-c", code], log=tmp_path / "log", environment={"WHO": "you"}, standard_input=b"hello "
    )
    process.wait(30)
    assert tail_text(tmp_path / "log") == "hello you."


def test_stop_process_kills_what_ignores_sigterm_and_its_children(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, end='.', flush=True); time.sleep(600)"
    )
    process = start_process([sys.executable, "-c", code], log=tmp_path / "log")
    grandchild = int(wait_for_text(tmp_path / "log")[:-1])
    stop_process(process, grace_seconds=0.1)
    assert process.returncode == -signal.SIGKILL
    wait_until_gone(grandchild)


def test_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from app.processes import start_process;"
        f"child = start_process({SLEEPER!r}, log=Path({str(tmp_path / 'child')!r}));"
        "print(child.pid, end='.', flush=True); time.sleep(600)"
    )
    with (tmp_path / "log").open("wb") as log:
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=log)
    child = int(wait_for_text(tmp_path / "log")[:-1])
    assert is_running(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until_gone(child)
