"""How soon the page shows a finished job: `python -m tests.bench.page --json tests/bench/results/page.json`.

A job of 20,000 rows with two faces each lies in a real Redis behind the real API; a real, headless Chromium opens its
page. Measured in the browser, from the start of the navigation to the first picture after the chart was drawn: `cold`
with an empty cache, the chart library included, `warm` when the page is opened again. `timeline` is the one request
that the service has work with, `smoothed` the same with two seconds of smoothing.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import httpx
import redis
from playwright.sync_api import Browser, Page, sync_playwright

from app.main import create_app
from app.redis_server import run_redis_server
from app.settings import ApiSettings
from model.hardware import choose_device, describe_hardware
from model.labels import EMOTIONS
from tests.app.conftest import run_server
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job_with_rows
from tests.bench.report import describe_command
from tests.chromium import MISSING, WAIT_MS, find_chromium
from worker.settings import QueueSettings
from worker.work_store import WorkStore

ROWS = 20_000
TARGET_SECONDS = 2.0
_UNTIL_DRAWN = """() => new Promise((resolve) => {
    const look = () => document.querySelector("#chart[data-drawn]")
        ? requestAnimationFrame(() => resolve(performance.now()))
        : setTimeout(look, 5);
    look();
})"""


def describe(seconds: list[float]) -> dict[str, float]:
    """Return the middle and the worst of some measurements."""
    return {"median_seconds": round(median(seconds), 3), "worst_seconds": round(max(seconds), 3)}


def open_page(page: Page, job_id: str) -> float:
    """Open the page of a job and return the seconds until its chart was on the screen."""
    page.goto("about:blank")
    page.goto(f"/#job={job_id}", wait_until="commit")
    milliseconds: float = page.evaluate(_UNTIL_DRAWN)
    return milliseconds / 1000


def open_cold(browser: Browser, url: str, job_id: str) -> tuple[float, float]:
    """Open the page twice in a browser that has never seen it."""
    context = browser.new_context(base_url=url, viewport={"width": 1200, "height": 900})
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    try:
        return open_page(page, job_id), open_page(page, job_id)
    finally:
        context.close()


def measure(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(*, rounds: int, program: str) -> dict[str, object]:
    """Measure all of it."""
    rows = create_rows(
        [
            [create_face(1 + frame // 900, EMOTIONS[frame // 50 % 7]), create_face(101, EMOTIONS[frame // 30 % 7])]
            for frame in range(ROWS)
        ]
    )
    with tempfile.TemporaryDirectory() as directory, run_redis_server(Path(directory)) as redis_url:
        queue = QueueSettings(redis_url=redis_url, media_dir=Path(directory) / "media")
        job_id = create_job_with_rows(WorkStore(redis.Redis.from_url(redis_url), queue), rows, segment_frames=240)
        with (
            run_server(create_app(ApiSettings(min_free_bytes=0), queue=queue)) as url,
            sync_playwright() as playwright,
            httpx.Client(base_url=url, trust_env=False, timeout=60) as client,
        ):
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            visits = [open_cold(browser, url, job_id) for _ in range(rounds)]
            version = browser.version
            browser.close()
            path = f"/v1/jobs/{job_id}/timeline?resolution=1100"
            raw = [measure(lambda: client.get(path).raise_for_status()) for _ in range(rounds)]
            smoothed = [
                measure(lambda: client.get(f"{path}&smoothing_seconds=2").raise_for_status()) for _ in range(rounds)
            ]
            answer = client.get(path)
    cold, warm = zip(*visits, strict=True)
    return {
        "command": describe_command("tests.bench.page"),
        "hardware": {**describe_hardware(choose_device("cpu")), "system": platform.system()},
        "chromium": version,
        "load_average": os.getloadavg()[0],
        "rounds": rounds,
        "rows": ROWS,
        "faces": 2 * ROWS,
        "target_seconds": TARGET_SECONDS,
        "cold": describe(list(cold)),
        "warm": describe(list(warm)),
        "timeline": describe(raw),
        "smoothed": describe(smoothed),
        "timeline_bytes": {"whole": len(answer.content), "sent": int(answer.headers.get("content-length", 0))},
    }


def main() -> None:
    """Run the benchmark and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    program = find_chromium()
    if program is None:
        parser.error(MISSING)
    text = json.dumps(run(rounds=arguments.rounds, program=program), indent=2)
    print(text)  # noqa: T201  # a command's output
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
