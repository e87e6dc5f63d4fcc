"""Kill the API at random moments while a tus client that is not ours sends a video; each must become one whole job.

Run: `python -m tests.bench.upload_faults --runs 50 --json tests/bench/results/upload_faults.json`. The seed stands in
the result.
"""

import argparse
import hashlib
import io
import json
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis
from tusclient.client import TusClient

from app.redis_server import RedisServer
from tests.app.api_process import ApiProcess
from worker.settings import QueueSettings

_KILLS = 2
_LONGEST_DELAY_SECONDS = 0.5
_VIDEO_BYTES = (1, 40_000_000)
_RETRIES = 150


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the faults and write what became of them; returns 1 where a video was not one whole job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = _run(Path(folder), runs=options.runs, seed=options.seed)
    text = json.dumps(result, indent=2) + "\n"
    if options.json:
        options.json.write_text(text)
    sys.stdout.write(text)
    return int(bool(result["failures"]))


def _run(folder: Path, *, runs: int, seed: int) -> dict[str, Any]:
    server = RedisServer(folder, append_only=True)
    redis_process = server.start()
    api = ApiProcess(QueueSettings(redis_url=server.url, media_dir=folder / "media"), folder / "api.log")
    client = redis.Redis.from_url(server.url)
    failures: list[str] = []
    kills_in_flight = 0
    started = time.monotonic()
    try:
        api.start()
        for run in range(runs):
            rng = random.Random(f"{seed} {run}")
            client.flushdb()
            try:
                kills_in_flight += _strike(api, client, rng)
            except Exception as error:  # every run counts, whatever went wrong in one of them
                failures.append(f"run {run}: {error!r}")
    finally:
        api.stop()
        client.close()
        redis_process.kill()
        redis_process.wait()
    return {
        "command": f"python -m tests.bench.upload_faults --runs {runs} --seed {seed}",
        "hardware": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "runs": runs,
        "kills": _KILLS * runs,
        "kills_before_the_client_was_done": kills_in_flight,
        "failures": failures,
        "seconds": round(time.monotonic() - started, 1),
    }


def _strike(api: ApiProcess, client: redis.Redis, rng: random.Random) -> int:
    """Send a video while the API is killed; returns how many kills the client felt."""
    video = rng.randbytes(rng.randint(*_VIDEO_BYTES))
    uploader: Any = TusClient(f"{api.url}/v1/uploads").uploader(  # tuspy's types say None where it has a str
        file_stream=io.BytesIO(video),
        chunk_size=rng.choice([1_000_000, 9_000_000, len(video)]),
        upload_checksum=rng.random() < 0.5,
        retries=_RETRIES,
        retry_delay=1,
    )
    uploader.set_url(uploader.create_url())  # tuspy does not try this one again
    sending = threading.Thread(target=uploader.upload)
    sending.start()
    felt = 0
    for _ in range(_KILLS):
        time.sleep(rng.uniform(0, _LONGEST_DELAY_SECONDS))
        felt += sending.is_alive()
        api.kill()
        api.start()
    sending.join()
    _check(api, client, str(uploader.url).rpartition("/")[2], video)
    return felt


def _check(api: ApiProcess, client: redis.Redis, upload_id: str, video: bytes) -> None:
    (job_key,) = client.scan_iter("emoclip:job:*")
    record = json.loads(client.hget(job_key, "record") or "{}")
    (folder,) = api.queue.media_dir.iterdir()
    # the process may have died between the record and its message: the sweeper rings then
    messages = client.llen(api.queue.queue_name)
    assert job_key.decode() == f"emoclip:job:{upload_id}", "another job"
    assert folder.name == upload_id, "another upload"
    assert [path.name for path in folder.iterdir()] == ["source"], "unfinished"
    assert (folder / "source").read_bytes() == video, "other bytes"
    assert record["sha256"] == hashlib.sha256(video).hexdigest(), "another digest"
    assert messages <= 1, f"{messages} messages"
    assert client.zscore("emoclip:bells", f"index|{upload_id}") is not None, "nobody would look after the job"
    (folder / "source").unlink()
    folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
