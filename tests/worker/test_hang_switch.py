"""The switch that ends a process which hangs, in processes that really hang."""

import subprocess
import sys

import pytest

HANGS = {
    "in a thread that waits": "threading.Event().wait()",
    "in native code that keeps the lock": "re.match('(a*)*b', 'a' * 60)",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    head = "import re, threading, time\nfrom worker.hang_switch import HangSwitch\n"
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_process_that_hangs_is_ended_and_says_where(hang: str) -> None:
    done = run(f"with HangSwitch(0.2).armed():\n    {hang}")
    assert done.returncode == 1
    assert 'File "<string>", line 4' in done.stderr


def test_process_that_moves_is_left_alone() -> None:
    done = run(
        "switch = HangSwitch(30)\nwith switch.armed():\n    switch.put_off()\nfor _ in range(3):\n    time.sleep(0.01)"
    )
    assert done.returncode == 0


def test_switch_is_off_after_its_context() -> None:
    done = run("with HangSwitch(0.2).armed():\n    pass\ntime.sleep(0.5)")
    assert done.returncode == 0
