"""Hostile and broken files sent to the whole service: each job ends, nothing but the upload is opened, nobody dies.

A real API, Redis and worker. What is made here always runs; of ../shared/data/media one file of each kind, and all of
them where EMOCLIP_ALL_MEDIA is set.
"""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.redis_server import run_redis_server
from app.settings import ApiSettings
from tests import videos
from tests.app.conftest import run_server
from tests.model.miniature import write_tiny_checkpoint
from tests.opened_files import OpenedFiles
from tests.worker.jobs import poll
from tests.worker.test_media_corpus import MEDIA, REFUSALS, manifest
from tests.worker.worker_process import run_worker
from worker.settings import QueueSettings, WorkerSettings

JOB_SECONDS = 600
"""Bound of every wait, on a machine that is busy with other things."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running service, and what no file may reach."""

    client: httpx.Client
    worker: subprocess.Popen[bytes]
    log: Path
    media: Path
    listener: socket.socket
    outside: Path
    opened: OpenedFiles
    """Of `outside`, which holds a video that would decode."""

    def analyse(self, files: dict[str, bytes]) -> dict[str, dict[str, object]]:
        """Send all files, then wait for the end of each job; a file refused at once has the problem as its job."""
        answers = {name: self.client.post("/v1/jobs", content=content) for name, content in files.items()}
        assert [name for name, answer in answers.items() if answer.status_code >= 500] == []
        return {name: self.wait(answer) for name, answer in answers.items()}

    def wait(self, answer: httpx.Response) -> dict[str, object]:
        """Return a job in its terminal state."""
        job: dict[str, object] = answer.json()
        if answer.status_code != 202:
            return {"state": "refused", "error": {"code": answer.status_code}} | job

        def is_ended() -> bool:
            nonlocal job
            response = self.client.get(answer.headers["location"])
            assert response.status_code == 200, response.text
            job = response.json()
            return job["state"] not in ("queued", "processing")

        assert poll(is_ended, seconds=JOB_SECONDS), job
        return job

    def assert_unharmed(self) -> None:
        """The worker lives and met nothing unexpected, no upload is left, nothing was reached."""
        assert self.worker.poll() is None
        log = self.log.read_text()
        assert "Traceback" not in log, log[-3000:]
        assert "failed unexpectedly" not in log
        assert poll(lambda: list(self.media.glob("*/source*")) == [], seconds=JOB_SECONDS)
        assert self.opened.take() == set()
        with pytest.raises(TimeoutError):
            self.listener.accept()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    outside = tmp_path_factory.mktemp("outside")
    videos.write_constant_rate(outside / "canary.mp4", 8)
    weights = write_tiny_checkpoint(folder / "tiny.safetensors")
    settings = WorkerSettings(device="cpu", weights=weights, long_side=320, upscale_to=64)
    with contextlib.ExitStack() as stack:
        redis_url = stack.enter_context(run_redis_server(folder))
        queue = QueueSettings(redis_url=redis_url, media_dir=folder / "media")
        log = folder / "worker.log"
        worker = stack.enter_context(run_worker(queue, settings, log=log))
        url = stack.enter_context(run_server(create_app(ApiSettings(min_free_bytes=0), queue=queue)))
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=120))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(0.05)
        opened = stack.enter_context(OpenedFiles(outside))
        yield Site(client, worker, log, queue.media_dir, listener, outside, opened)


def attacks(outside: Path, port: int) -> dict[str, bytes]:
    """Return files that try to make a decoder read another file or open a connection."""
    canary, server = outside / "canary.mp4", f"http://127.0.0.1:{port}/canary.mp4"
    up = f"../../../{outside.name}/canary.mp4"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    texts = {
        "concat of a file": f"ffconcat version 1.0\nfile '{canary}'\n",
        "concat of a relative file": f"ffconcat version 1.0\nfile {up}\n",
        "concat of a server": f"ffconcat version 1.0\nfile {server}\n",
        "playlist of a file": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{canary}\n#EXT-X-ENDLIST\n",
        "playlist of a server": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{server}\n#EXT-X-ENDLIST\n",
        "playlist with a key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{server}"\n#EXTINF:2,\nfile:{canary}\n',
        "dash of a file": dash.format(f"file://{canary}"),
        "dash of a server": dash.format(server),
        "session description": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "filter script": f"movie={canary}",
        "vector graphic": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{server}"/></svg>',
        "plain text": "not a video at all\n" * 100,
        "image sequence": f"{outside}/%d.mp4",
    }
    return {name: text.encode() for name, text in texts.items()}


@pytest.mark.timeout(JOB_SECONDS * 2)
def test_files_that_point_elsewhere_are_refused_and_reach_nothing(site: Site) -> None:
    files = attacks(site.outside, site.listener.getsockname()[1])

    jobs = site.analyse(files)

    assert {name: job["state"] for name, job in jobs.items()} == dict.fromkeys(files, "failed")
    assert {code_of(job) for job in jobs.values()} == {"unsupported_media"}
    site.assert_unharmed()


@pytest.mark.timeout(JOB_SECONDS * 2)
def test_service_goes_on_after_a_video_that_is_cut_off(site: Site, sample_video: Path) -> None:
    content = videos.write_constant_rate(site.media.parent / "video.mp4", 24).read_bytes()
    files = {"cut off": sample_video.read_bytes()[:2000], "zeros": bytes(10_000), "whole": content}

    jobs = site.analyse(files)

    assert [job["state"] for job in jobs.values()] == ["failed", "failed", "succeeded"]
    assert jobs["whole"]["rows_ready"] == 24
    site.assert_unharmed()


def chosen() -> list[str]:
    """Return the corpus, or the smallest file of each kind."""
    rows = sorted(manifest().values(), key=lambda row: (row["kind"], (MEDIA / row["file"]).stat().st_size))
    if os.environ.get("EMOCLIP_ALL_MEDIA"):
        return [row["file"] for row in rows]
    return list({row["kind"]: row["file"] for row in reversed(rows)}.values())


@pytest.mark.timeout(JOB_SECONDS * 4)
def test_every_file_of_the_corpus_ends_as_its_manifest_says(site: Site) -> None:
    names = chosen()
    if not names:
        pytest.skip("optional data not found: the media files of ../shared/data (set EMOCLIP_DATA)")

    jobs = site.analyse({name: (MEDIA / name).read_bytes() for name in names})

    expected = {name: REFUSALS.get(manifest()[name]["kind"]) for name in names}
    refused = {name: refusals for name, refusals in expected.items() if refusals}
    decoded = {name: int(manifest()[name]["frames"]) for name in names if name not in refused}
    assert {name: code_of(jobs[name]) in {error.code for error in errors} for name, errors in refused.items()} == (
        dict.fromkeys(refused, True)
    )
    assert {name: (jobs[name]["state"], jobs[name]["rows_ready"]) for name in decoded} == {
        name: ("succeeded", frames) for name, frames in decoded.items()
    }
    site.assert_unharmed()


def code_of(job: dict[str, object]) -> object:
    error = job["error"]
    assert isinstance(error, dict), job
    return error["code"]
