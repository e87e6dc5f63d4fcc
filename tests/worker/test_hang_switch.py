"""The switch that ends a process which hangs, in processes that really hang."""

import subprocess
import sys

import pytest

HEAD = """
import os, re, signal, threading, time
from worker.hang_switch import HangSwitch

def run(switch, work):
    "Let a child work while this process looks; returns the signal that ended the child, 0 for none."
    child = os.fork()
    if child == 0:
        work(switch)
        os._exit(0)
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        switch.look()
        time.sleep(0.01)
    switch.look()  # at one that is dead, and not reaped
    status = os.waitpid(child, 0)[1]
    switch.look()  # at one that is no more
    return os.WTERMSIG(status)

"""
HANGS = {
    "in a thread that waits": "threading.Event().wait()",
    "in native code that keeps the lock": "re.match('(a*)*b', 'a' * 60)",
    "as it was stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS)
def test_process_that_hangs_is_ended(hang: str) -> None:
    done = run(f"def work(switch):\n with switch.armed():\n  {hang}\nprint(run(HangSwitch(0.2), work))")
    assert (done.stdout, done.returncode) == ("9\n", 0), done.stderr


def test_process_that_hangs_says_where() -> None:
    done = run(
        f"def work(switch):\n with switch.armed():\n  {HANGS['in a thread that waits']}\nrun(HangSwitch(0.2), work)"
    )
    assert " in work" in done.stderr


def test_process_that_gives_signs_is_left_alone() -> None:
    work = "def work(switch):\n with switch.armed():\n  for _ in range(8): time.sleep(0.5); switch.put_off()\n"
    done = run(f"{work}print(run(HangSwitch(3), work))")
    assert done.stdout == "0\n", done.stderr


def test_first_sign_may_take_longer() -> None:
    work = "def work(switch):\n with switch.armed(first_seconds=60):\n  time.sleep(0.5)\n"
    done = run(f"{work}print(run(HangSwitch(0.1), work))")
    assert done.stdout == "0\n", done.stderr


def test_switch_is_off_after_its_context() -> None:
    done = run("def work(switch):\n with switch.armed(): pass\n time.sleep(0.5)\nprint(run(HangSwitch(0.2), work))")
    assert done.stdout == "0\n", done.stderr


def test_only_a_child_is_killed() -> None:
    # as with a process that died while it was armed, whose number another one has by now
    work = "switch = HangSwitch(0.01)\nwith switch.armed():\n time.sleep(0.1); switch.look(); print('alive')"
    assert run(work).stdout == "alive\n"
