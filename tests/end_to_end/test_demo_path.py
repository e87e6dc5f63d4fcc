"""The main job end to end: start the service, upload over HTTP, poll, read the rows, stop; nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.demo import main
from app.embedded import EmbeddedServiceError, run_service
from app.exports.head import Result
from app.redis_server import find_free_port
from model.labels import Emotion

WAIT_SECONDS = 240

pytestmark = pytest.mark.timeout(600)  # whole services start and stop here, and a machine may be busy


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment that every process started with it hands on; whoever still has it at the end was left behind."""
    yield {**os.environ, "TMPDIR": str(tmp_path)}
    for process_id in find_marked(tmp_path):
        os.kill(process_id, signal.SIGKILL)


def find_marked(folder: Path) -> list[int]:
    """Processes that have the folder in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = environment.read_bytes()
        except OSError:  # gone meanwhile, or not ours to see
            continue
        if f"TMPDIR={folder}".encode() in content.split(b"\0"):
            found.append(int(environment.parent.name))
    return found


def start_serving(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `emoclip serve` and return when it says that it is ready."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", str(find_free_port())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            # a suite that runs in the background ignores Ctrl-C, and its children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    deadline = time.monotonic() + WAIT_SECONDS
    while "is ready on" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.1)
    return process


def wait_until_none_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while left := find_marked(folder):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)


def test_demo_shows_the_expressions_of_the_sample(sample_video: Path, marked: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.demo", str(sample_video), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=marked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Timeline" in done.stdout
    assert find_marked(tmp_path) == []
    assert not list(tmp_path.glob("emoclip-*"))  # uploads and Redis' data are gone
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    result = Result.model_validate_json((tmp_path / "out" / "demo.json").read_bytes())
    assert [row.frame for row in result.rows] == list(range(175))
    assert [row.pts_seconds for row in result.rows] == pytest.approx([number / 25 for number in range(175)], abs=1e-6)
    # the recipe of the sample: the face leaves the picture after the third second and is back after a cut at 4.4
    assert all(row.faces for row in result.rows if row.pts_seconds < 2.5 or row.pts_seconds >= 4.4)
    assert not any(row.faces for row in result.rows if 3.7 <= row.pts_seconds < 4.4)
    assert [track.emotion for track in result.summary.tracks] == [Emotion.HAPPINESS] * 2


def test_demo_says_in_one_line_why_a_file_cannot_be_analysed(tmp_path: Path, marked: dict[str, str]) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video\n")
    command = [sys.executable, "-m", "app.demo", str(text), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=marked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{text}: ")
    assert done.stderr.count("\n") == 1


def test_demo_says_that_its_folder_is_a_file(sample_video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(sample_video), "--out", str(sample_video)]) == 2
    assert capsys.readouterr().err == f"{sample_video} cannot be a folder for the result: File exists\n"


def test_directory_without_room_for_logs_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()

    with (
        pytest.raises(EmbeddedServiceError, match="logs cannot be a folder for logs: File exists"),
        run_service(tmp_path),
    ):
        pass


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_serve_stops_cleanly(signal_number: int, marked: dict[str, str], tmp_path: Path) -> None:
    process = start_serving(marked, tmp_path / "log")
    process.send_signal(signal_number)
    assert process.wait(30) == 0
    assert find_marked(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_serve_leaves_no_orphans_when_it_is_killed(marked: dict[str, str], tmp_path: Path) -> None:
    process = start_serving(marked, tmp_path / "log")
    process.kill()
    process.wait()
    wait_until_none_is_left(tmp_path)


def test_a_killed_child_is_started_again_and_its_directory_stays_its_own(tmp_path: Path) -> None:
    with run_service(tmp_path) as service:
        before = service.process_ids
        for process_id in before.values():
            os.kill(process_id, signal.SIGKILL)
            os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOWAIT)  # dead, and left for its parent to notice
        with pytest.raises(EmbeddedServiceError, match="another service is running"), run_service(tmp_path):
            pass
        service.wait_until_ready()
        assert set(service.process_ids.values()).isdisjoint(before.values())


def test_port_in_use_is_named(tmp_path: Path, redis_url: str) -> None:
    port = int(redis_url.rpartition(":")[2].partition("/")[0])
    with (
        pytest.raises(EmbeddedServiceError, match=f"port {port} on 127.0.0.1 is in use"),
        run_service(tmp_path, port=port),
    ):
        pass
