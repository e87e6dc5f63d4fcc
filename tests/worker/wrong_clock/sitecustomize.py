"""Makes the wall clock of a Python process wrong: first on PYTHONPATH, it is imported before all else."""

import os
import time

_WRONG_BY = int(os.environ["WRONG_CLOCK_SECONDS"])
_time, _time_ns = time.time, time.time_ns


def _wrong_time() -> float:
    return _time() + _WRONG_BY


def _wrong_time_ns() -> int:
    return _time_ns() + _WRONG_BY * 1_000_000_000


time.time = _wrong_time
time.time_ns = _wrong_time_ns
