"""Some hundred jobs one after the other: `python -m tests.bench.soak --json OUT`.

Runs `emoclip serve`'s processes and sends them `--jobs` jobs, four at a time: videos with a face, longer ones of
several segments, damaged ones, text, and some that are canceled. Each result is read; every second job is deleted, the
others expire. Memory is noted every 25 jobs: it must be flat once everything has been used, and no key of a job may be
left.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import httpx

from tests.bench.report import write_report
from tests.bench.service import Site, run_site
from tests.videos import face_scene, two_faces_scene, write_constant_rate
from tests.worker.jobs import poll

SETTINGS = {
    "EMOCLIP_MAX_REQUESTS_PER_MINUTE": "0",
    "EMOCLIP_LONG_SIDE": "320",
    "EMOCLIP_UPSCALE_TO": "320",
    "EMOCLIP_SEGMENT_FRAMES": "16",
    "EMOCLIP_RESULT_TTL_SECONDS": "20",
}
AT_ONCE = 4
SAMPLE_EVERY = 25
JOB_SECONDS = 600


def make_contents(folder: Path) -> dict[str, bytes]:
    """Return what is sent, by the kind of job."""
    face = write_constant_rate(folder / "face.mp4", 16, scene=face_scene()).read_bytes()
    faces = write_constant_rate(folder / "faces.mkv", 48, scene=two_faces_scene()).read_bytes()
    damaged = bytearray(faces)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 500] = bytes(500)
    return {"face": face, "segments": faces, "damaged": bytes(damaged), "text": b"no video\n" * 99, "canceled": faces}


def run_job(client: httpx.Client, number: int, kind: str, content: bytes) -> str:
    """Take one job to its end and its result; return the state it ended in."""
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "video/mp4"})
    assert answer.status_code == 202, answer.text
    url = answer.headers["location"]
    if kind == "canceled":
        answer = client.post(f"{url}/cancel")
        assert answer.status_code < 500, answer.text
    job: dict[str, str] = {}

    def is_ended() -> bool:
        nonlocal job
        job = client.get(url).json()
        return job["state"] in ("succeeded", "failed", "canceled")

    assert poll(is_ended, seconds=JOB_SECONDS, every_seconds=0.1), job
    if job["state"] == "succeeded":
        assert client.get(f"{url}/result").status_code == 200
    if number % 2:
        assert client.delete(url).status_code == 204
    return f"{kind} {job['state']}"


def soak(site: Site, contents: dict[str, bytes], *, jobs: int, note: Callable[[str], None]) -> dict[str, object]:
    """Run the jobs; return memory over time, how they ended, and the keys that are left."""
    kinds = list(contents)
    ends: Counter[str] = Counter()
    samples = []
    begin = time.perf_counter()
    with (
        httpx.Client(base_url=site.service.url, trust_env=False, timeout=60) as client,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for first in range(0, jobs, SAMPLE_EVERY):
            numbers = range(first, min(first + SAMPLE_EVERY, jobs))
            chosen = [kinds[number % len(kinds)] for number in numbers]
            ends.update(pool.map(lambda number, kind: run_job(client, number, kind, contents[kind]), numbers, chosen))
            memory = asdict(site.measure_memory())
            samples.append({"jobs": numbers[-1] + 1, **memory, "keys_of_jobs": site.count_keys()})
            note(f"{samples[-1]}")
    seconds = time.perf_counter() - begin
    assert poll(lambda: site.count_keys() == 0, seconds=120, every_seconds=0.1), f"{site.count_keys()} keys are left"
    return {
        "jobs": jobs,
        "seconds": round(seconds, 1),
        "ends": dict(sorted(ends.items())),
        "memory_mib": samples,
        "keys_of_jobs_after_ttl": site.count_keys(),
        "all_keys_after_ttl": sorted(key.decode() for key in site.redis.scan_iter("*")),
    }


def main() -> int:
    """Print the figures as JSON, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--json", type=Path, dest="output")
    options = parser.parse_args()
    os.environ.update(SETTINGS)
    with tempfile.TemporaryDirectory() as folder, run_site(Path(folder)) as site:
        results = soak(site, make_contents(Path(folder)), jobs=options.jobs, note=lambda line: print(line, flush=True))  # noqa: T201  # a command line tool
    write_report("tests.bench.soak", results, options.output, settings=SETTINGS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
