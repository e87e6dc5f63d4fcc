"""Which device computes, and what it is called: every published number carries the hardware it was measured on."""

import os
import platform
from pathlib import Path
from typing import Literal

import torch

DeviceChoice = Literal["auto", "cpu", "cuda"]


def choose_device(choice: DeviceChoice) -> torch.device:
    """Return the device asked for; `auto` takes CUDA where there is one.

    Raises:
        ValueError: CUDA is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if choice == "cuda" and not has_cuda:
        raise ValueError("expected a CUDA device, got none that torch can use")
    return torch.device("cuda" if has_cuda and choice != "cpu" else "cpu")


def describe_hardware(device: torch.device) -> dict[str, str | int]:
    """Return the names that belong beside a measurement."""
    facts: dict[str, str | int] = {
        "cpu": _cpu_name(),
        "cpu_cores": len(os.sched_getaffinity(0)),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cpu":
        facts["threads"] = torch.get_num_threads()
    return facts


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
