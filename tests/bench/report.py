"""How a program that measures a service reports: figures beside the command, the hardware and the machine's load."""

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from model.hardware import describe_hardware

__all__ = ["describe_command", "describe_priority", "write_report"]


def write_report(
    module: str, results: object, output: Path | None, *, settings: Mapping[str, object] | None = None
) -> None:
    """Print the report as JSON, and write it to `output` where there is one."""
    report = {
        "command": describe_command(module),
        "hardware": describe_hardware(torch.device("cpu")),
        "load_average": round(os.getloadavg()[2], 2),
        "priority": describe_priority(),
        "settings": dict(settings or {}),
        "results": results,
    }
    text = json.dumps(report, indent=2)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", encoding="utf-8")
    print(text)  # noqa: T201  # a command line tool


def describe_command(module: str) -> str:
    """Return the command that runs this process, with all the options that were given."""
    return shlex.join(["python", "-m", module, *map(_show, sys.argv[1:])])


def describe_priority() -> str:
    """Return how this process, and all that it starts, is preferred to whatever else the machine does."""
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        return f"nice {os.nice(0)}"
    return f"real-time {os.sched_getparam(0).sched_priority}"


def _show(argument: str) -> str:
    # a path of this machine belongs into no committed file
    return Path(argument).name if Path(argument).is_absolute() else argument
