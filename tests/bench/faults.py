"""Kills every part of the service again and again at random moments: does each job still end once, and rightly?

    python -m tests.bench.faults --runs 50 --seed 1 --json tests/bench/results/faults.json

Two workers whose clocks are an hour fast and an hour slow share a video of five segments; each run is one job and one
fault. A lease lasts 4 s here, and a process hangs after 20 s without progress. Ends with status 1 at the first broken
promise, with the seed that repeats it.
"""

import argparse
import json
import os
import platform
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from app.processes import tail_text
from tests.end_to_end.random_faults import FAULTS, Strike, strike
from tests.end_to_end.site import Site
from tests.model.miniature import write_tiny_checkpoint
from tests.videos import face_scene, write_constant_rate
from worker.assembly import create_analyzer, create_limits
from worker.contract import JobOptions
from worker.pipeline import analyse_video
from worker.settings import WorkerSettings

FRAMES = 40


def main() -> int:
    """Run the campaign of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument(
        "--runs", type=int, default=int(os.environ.get("EMOCLIP_FAULT_RUNS", "50")), help="of each kind"
    )
    parser.add_argument("--seed", type=int, default=int(os.environ.get("EMOCLIP_FAULT_SEED", str(time.time_ns()))))
    parser.add_argument("--kinds", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="KIND")
    parser.add_argument("--first-run", type=int, default=0, help="to repeat one run alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file that the results are merged into")
    arguments = parser.parse_args()
    # A shell that starts this in the background ignores both; a worker inherits that, and would then lose the signals
    # that reach it before it has handlers of its own.
    for ignored in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="emoclip-faults-") as folder, ExitStack() as stack:
        directory = Path(folder)
        settings = WorkerSettings(
            device="cpu",
            weights=write_tiny_checkpoint(directory / "tiny.safetensors"),
            long_side=320,
            upscale_to=320,
            segment_frames=8,
            stall_seconds=20,
        )
        video = write_constant_rate(directory / "face.mp4", FRAMES, scene=face_scene())
        rows = analyse_video(create_analyzer(settings), video, JobOptions(), create_limits(settings)).rows
        site = Site(directory, settings, stack, workers=arguments.workers)
        content = video.read_bytes()
        site.client.assert_undisturbed(site.client.submit(content), rows)  # everything is loaded now
        begin = time.monotonic()
        site.client.assert_undisturbed(site.client.submit(content), rows)
        seconds = time.monotonic() - begin
        _say(f"seed {arguments.seed}; a quiet job takes {seconds:.1f} s")
        for kind in arguments.kinds:
            begin = time.monotonic()
            strikes = []
            for run in range(arguments.first_run, arguments.first_run + arguments.runs):
                rng = random.Random(f"{arguments.seed} {kind} {run}")
                try:
                    strikes.append(strike(site, kind, video=content, rows=rows, rng=rng, seconds=seconds))
                except AssertionError as error:
                    _say(f"BROKEN by {kind!r}, seed {arguments.seed}, run {run}: {error}")
                    _say(tail_text(site.log, lines=60))
                    return 1
                result = _summarise(kind, strikes, seed=arguments.seed, seconds=time.monotonic() - begin)
                if arguments.json:  # after each, so that a campaign cut short has counted what it did
                    _merge(arguments.json, result)
            _say(json.dumps(result))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command line tool


def _summarise(kind: str, strikes: list[Strike], *, seed: int, seconds: float) -> dict[str, object]:
    ends = Counter(str(strike.code or strike.state or "deleted") for strike in strikes)
    return {
        "kind": kind,
        "runs": len(strikes),
        "ends": dict(sorted(ends.items())),
        "ended_workers": sum(strike.ended_workers for strike in strikes),
        "slowest_recovery_seconds": round(max(strike.recovery_seconds for strike in strikes), 1),
        "seconds": round(seconds),
        "command": f"python -m tests.bench.faults --kinds {shlex.quote(kind)} --runs {len(strikes)} --seed {seed}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f} at the end",
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _merge(path: Path, result: dict[str, object]) -> None:
    before = json.loads(path.read_text())["faults"] if path.exists() else []
    report = {"faults": [*(other for other in before if other["kind"] != result["kind"]), result]}
    path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
