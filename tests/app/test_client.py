"""The Python client, blocking and asynchronous, against the real service and through what can happen on the way."""

import contextlib
import inspect
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.client import (
    AsyncClient,
    Client,
    ConflictError,
    FrameRow,
    InvalidRequestError,
    JobCanceledError,
    JobFailedError,
    JobState,
    NoAnswerError,
    NotFoundError,
    Progress,
    TooLargeError,
    UnauthorizedError,
    WaitTimeoutError,
)
from app.client_core.sinks import open_sink
from app.keys import KeysFile
from app.main import create_app
from app.redis_server import find_free_port
from app.settings import ApiSettings
from app.smoothing import iter_smoothed
from model.labels import EMOTIONS, Emotion
from tests.app.blocked_client import create_blocked_client
from tests.app.conftest import CreateServer, run_server
from tests.app.faulty_proxy import Fault, run_faulty_proxy
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows, finish_job, plan_job, put_segment
from worker.contract import ErrorCode, JobFailure
from worker.settings import QueueSettings
from worker.work_store import WorkStore

MISSING = "0123456789abcdef" * 2
Connect = Callable[..., Client]


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    return create_rows([[create_face(1, EMOTIONS[frame // 10 % 7])] for frame in range(120)])


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "talk über.mp4"
    path.write_bytes(bytes(700_000))
    return path


@pytest.fixture(params=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Make a client of either kind; the test cannot tell which."""
    with contextlib.ExitStack() as stack:

        def create(url: str, key: str | None = None, **settings: float) -> Client:
            if request.param == "asynchronous":
                return stack.enter_context(
                    contextlib.contextmanager(create_blocked_client)(url, key, trust_env=False, **settings)
                )
            return stack.enter_context(Client(url, key, trust_env=False, **settings))

        yield create


@pytest.fixture
def emoclip(connect: Connect, url: str) -> Client:
    return connect(url)


class Worker:
    """Works on the job that a client tells of, one step at each look at it."""

    def __init__(self, store: WorkStore, rows: list[FrameRow]) -> None:
        self._store = store
        self._rows = rows
        self.seen: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.job is None or progress.job.state.is_terminal:
            return
        job_id, done = progress.job.id, progress.job.rows_ready
        if progress.job.state is JobState.QUEUED:
            plan_job(self._store, job_id, self._rows)
        elif done < len(self._rows):
            put_segment(self._store, job_id, self._rows, done // 40)
        else:
            finish_job(self._store, job_id, self._rows)


def fail(store: WorkStore, job_id: str, message: str) -> None:
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.fail(lease, JobFailure(code=ErrorCode.NO_VIDEO_STREAM, message=message))


# what it is


def test_importing_the_client_loads_nothing_of_the_service() -> None:
    code = "import sys, app.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert {"fastapi", "starlette", "celery", "kombu", "redis", "torch", "numpy", "pyarrow", "av"}.isdisjoint(loaded)


def test_both_clients_have_the_same_methods() -> None:
    def signatures(kind: type) -> dict[str, list[inspect.Parameter]]:
        return {
            name: list(inspect.signature(method).parameters.values())
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert signatures(AsyncClient) == signatures(Client)


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://a:b", "://x"])
def test_client_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a service"):
        Client(url)


# the main job


def test_analyze_returns_rows_and_tells_every_stage(
    emoclip: Client, store: WorkStore, rows: list[FrameRow], video: Path
) -> None:
    worker = Worker(store, rows)

    result = emoclip.analyze(video, poll_seconds=0, on_progress=worker)

    assert result.rows == rows
    assert result.video.frame_count == len(rows)
    assert [track.track for track in result.summary.tracks] == [1]
    stages = list(dict.fromkeys(progress.stage for progress in worker.seen))
    assert stages == ["uploading", "queued", "processing", "succeeded"]
    uploading = [progress for progress in worker.seen if progress.stage == "uploading"]
    assert [progress.done for progress in uploading] == sorted(progress.done for progress in uploading)
    assert (uploading[-1].done, uploading[-1].total) == (700_000, 700_000)
    assert (worker.seen[-1].done, worker.seen[-1].total) == (120, 120)


def test_analyze_hands_its_options_on(emoclip: Client, store: WorkStore, rows: list[FrameRow], video: Path) -> None:
    worker = Worker(store, rows)

    result = emoclip.analyze(
        video,
        sample_fps=5,
        max_faces=2,
        min_face_pixels=30,
        smoothing_seconds=0.5,
        poll_seconds=0,
        on_progress=worker,
    )

    assert (result.options.sample_fps, result.options.max_faces, result.options.min_face_pixels) == (5, 2, 30)
    assert result.rows == list(iter_smoothed(rows, smoothing_seconds=0.5))
    job = worker.seen[-1].job
    assert job is not None
    assert job.upload.file_name == video.name


def test_analyze_says_why_a_video_cannot_be_analysed(emoclip: Client, store: WorkStore, video: Path) -> None:
    def refuse(progress: Progress) -> None:
        if progress.job is not None and progress.job.state is JobState.QUEUED:
            fail(store, progress.job.id, "The file has no video stream.")

    with pytest.raises(JobFailedError, match=r"The file has no video stream\.") as caught:
        emoclip.analyze(video, poll_seconds=0, on_progress=refuse)

    assert caught.value.job.error is not None
    assert caught.value.job.error.code is ErrorCode.NO_VIDEO_STREAM


def test_analyze_tells_that_somebody_canceled_the_job(emoclip: Client, store: WorkStore, video: Path) -> None:
    def cancel(progress: Progress) -> None:
        if progress.job is not None:
            store.cancel(progress.job.id)

    with pytest.raises(JobCanceledError):
        emoclip.analyze(video, poll_seconds=0, on_progress=cancel)


def test_an_impossible_option_is_refused_before_the_upload(emoclip: Client, video: Path) -> None:
    with pytest.raises(ValueError, match="sample_fps"):
        emoclip.analyze(video, sample_fps=0)


def test_a_purpose_is_shown_with_the_job_and_a_forbidden_one_refused(emoclip: Client, video: Path) -> None:
    assert emoclip.submit(video, purpose="research").options.purpose == "research"
    with pytest.raises(ValueError, match="AI Act"):
        emoclip.submit(video, purpose="workplace")


def test_a_callback_is_handed_on(emoclip: Client, video: Path) -> None:
    with pytest.raises(InvalidRequestError, match="webhook"):  # which this server was not given a secret for
        emoclip.submit(video, callback_url="https://example.com/hook")


def test_upload_of_a_large_file_takes_little_memory(
    connect: Connect, create_server: CreateServer, tmp_path: Path
) -> None:
    path = tmp_path / "long.mp4"
    with path.open("wb") as file:
        file.truncate(48 * 2**20)
    client = connect(create_server(max_upload_bytes=2**30))

    tracemalloc.start()
    try:
        job = client.submit(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert job.upload.size_bytes == 48 * 2**20
    assert peak_bytes < 12 * 2**20  # the server's share included, which runs in a thread of this process


# coming back to a job


def test_wait_and_result_take_a_running_job_up_again(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=1)

    job = emoclip.wait(job_id, poll_seconds=0, on_progress=Worker(store, rows))

    assert job.state is JobState.SUCCEEDED
    assert emoclip.result(job_id).rows == rows


def test_wait_is_told_the_end_by_a_server_that_waits(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=3)
    worker = Worker(store, rows)

    job = emoclip.wait(job_id, poll_seconds=25, on_progress=worker)

    assert job.state is JobState.SUCCEEDED
    assert len(worker.seen) == 2


def test_wait_gives_up_in_time_and_leaves_the_job_alone(emoclip: Client, store: WorkStore) -> None:
    job_id = create_job(store)

    with pytest.raises(WaitTimeoutError, match=r"still queued after 0\.05 s"):
        emoclip.wait(job_id, timeout_seconds=0.05)

    assert emoclip.job(job_id).state is JobState.QUEUED


def test_rows_are_yielded_while_the_job_runs(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=1)
    iterator = emoclip.rows(job_id, page_rows=25)

    first = [next(iterator) for _ in range(40)]
    put_segment(store, job_id, rows, 1)
    second = [next(iterator) for _ in range(40)]
    put_segment(store, job_id, rows, 2)
    finish_job(store, job_id, rows)

    assert first + second + list(iterator) == rows


def test_rows_go_on_where_one_stopped(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    assert list(emoclip.rows(job_id, start=50)) == rows[50:]


def test_rows_of_a_canceled_job_end_with_an_error(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=1)
    store.cancel(job_id)
    read: list[FrameRow] = []

    with pytest.raises(JobCanceledError):
        read.extend(emoclip.rows(job_id))  # extend keeps what came before the error

    assert read == rows[:40]


def test_jobs_lists_all_of_them_newest_first(emoclip: Client, store: WorkStore) -> None:
    ids = sorted((create_job(store) for _ in range(203)), reverse=True)

    assert [job.id for job in emoclip.jobs()] == ids
    assert [job.id for job in emoclip.jobs(limit=3)] == ids[:3]
    assert list(emoclip.jobs(limit=0)) == []


def test_cancel_keeps_a_job_and_delete_erases_it(emoclip: Client, store: WorkStore) -> None:
    job_id = create_job(store)

    assert emoclip.cancel(job_id).state is JobState.CANCELED
    assert emoclip.job(job_id).state is JobState.CANCELED
    emoclip.delete(job_id)
    with pytest.raises(NotFoundError):
        emoclip.job(job_id)


# downloads


def test_download_writes_a_file_or_a_stream(
    emoclip: Client, store: WorkStore, rows: list[FrameRow], tmp_path: Path
) -> None:
    job_id = create_job_with_rows(store, rows)
    stream = io.BytesIO()

    emoclip.download(job_id, tmp_path / "rows.csv", format="csv")
    emoclip.download(job_id, stream, format="csv")

    assert (tmp_path / "rows.csv").read_bytes() == stream.getvalue()
    assert stream.getvalue().startswith(b"frame,pts_seconds,track")
    assert stream.getvalue().count(b"\r\n") == 1 + len(rows)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_download_that_is_refused_leaves_what_was_there(emoclip: Client, store: WorkStore, tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("before")

    with pytest.raises(ConflictError, match="still queued"):
        emoclip.download(create_job(store), target)

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("result.json", "before")]


def test_download_that_is_cut_off_starts_again(
    connect: Connect, url: str, store: WorkStore, rows: list[FrameRow], tmp_path: Path
) -> None:
    job_id = create_job_with_rows(store, rows)
    with run_faulty_proxy(url, Fault.CUT_ANSWER) as proxy:
        connect(proxy).download(job_id, tmp_path / "result.json")
    connect(url).download(job_id, tmp_path / "whole.json")

    assert (tmp_path / "result.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_download_to_a_stream_is_not_begun_twice(
    connect: Connect, url: str, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows)

    with run_faulty_proxy(url, Fault.CUT_ANSWER) as proxy, pytest.raises(OSError, match="connection broke"):
        connect(proxy).download(job_id, io.BytesIO())


def test_download_to_a_pipe_is_read_at_its_other_end(
    emoclip: Client, store: WorkStore, rows: list[FrameRow], tmp_path: Path
) -> None:
    job_id = create_job_with_rows(store, rows)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    expected = io.BytesIO()
    emoclip.download(job_id, expected, format="csv")

    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        emoclip.download(job_id, pipe, format="csv")
        read, _ = reader.communicate()

    assert read == expected.getvalue()
    assert pipe.is_fifo()


def test_download_to_a_device_leaves_it_a_device(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    emoclip.download(create_job_with_rows(store, rows), "/dev/null")

    assert Path("/dev/null").is_char_device()


def test_download_through_a_link_replaces_what_it_leads_to(
    emoclip: Client, store: WorkStore, rows: list[FrameRow], tmp_path: Path
) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "rows.csv")

    emoclip.download(create_job_with_rows(store, rows), tmp_path / "link.csv", format="csv")

    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "rows.csv").read_bytes().startswith(b"frame,pts_seconds,track")


def test_downloads_of_one_file_at_a_time_do_not_share_their_parts(tmp_path: Path) -> None:
    with open_sink(tmp_path / "rows.csv") as first, open_sink(tmp_path / "rows.csv") as second:
        for sink in (first, second):
            sink.begin()
        for sink, content in ((first, b"first"), (second, b"second"), (first, b", whole")):
            sink.write(content)
        first.commit()
        assert (tmp_path / "rows.csv").read_bytes() == b"first, whole"
        second.commit()

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("rows.csv", b"second")]


# refusals


@pytest.mark.parametrize("job_id", [MISSING, "x", "../../healthz", "a/b?c=d#e", "ü", ""])
def test_unknown_job_is_not_found(emoclip: Client, job_id: str) -> None:
    with pytest.raises(NotFoundError):
        emoclip.cancel(job_id)


def test_refusals_carry_what_the_service_said(emoclip: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such job") as caught:
        emoclip.job(MISSING)

    assert (caught.value.status, caught.value.code) == (404, "job_not_found")
    assert caught.value.request_id


def test_video_too_large_is_told(emoclip: Client, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    with path.open("wb") as file:
        file.truncate(6_000_000)

    with pytest.raises(TooLargeError, match="5,000,000 bytes"):
        emoclip.submit(path)


def test_empty_video_is_told(emoclip: Client, tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()

    with pytest.raises(InvalidRequestError, match="empty") as caught:
        emoclip.submit(path)

    assert caught.value.code == "empty_upload"


def test_missing_file_is_an_os_error(emoclip: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        emoclip.submit(tmp_path / "none.mp4")


def test_key_opens_the_service_and_its_lack_is_told(
    connect: Connect, create_server: CreateServer, tmp_path: Path
) -> None:
    keys = KeysFile(tmp_path / "keys")
    key = keys.create("alice")
    url = create_server(api_keys_file=tmp_path / "keys")

    assert list(connect(url, key).jobs()) == []
    for wrong in (None, "emo_wrong"):
        with pytest.raises(UnauthorizedError, match="API key"):
            list(connect(url, wrong).jobs())


# what can happen on the way


@pytest.mark.parametrize("fault", [Fault.HANG_UP, Fault.LOSE_ANSWER, Fault.UNAVAILABLE])
def test_upload_is_made_again_and_makes_one_job(connect: Connect, url: str, video: Path, fault: Fault) -> None:
    with run_faulty_proxy(url, fault) as proxy:
        job = connect(proxy).submit(video)

    assert [found.id for found in connect(url).jobs()] == [job.id]
    assert job.upload.size_bytes == 700_000


def test_own_idempotency_key_makes_one_job(emoclip: Client, video: Path) -> None:
    first = emoclip.submit(video, idempotency_key="order-17")
    second = emoclip.submit(video, idempotency_key="order-17")

    assert first.id == second.id


def test_delete_whose_answer_was_lost_is_done(connect: Connect, url: str, store: WorkStore) -> None:
    job_id = create_job(store)

    with run_faulty_proxy(url, Fault.LOSE_ANSWER) as proxy:
        connect(proxy).delete(job_id)

    assert list(connect(url).jobs()) == []


def test_result_is_fetched_through_every_fault(
    connect: Connect, url: str, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows)

    with run_faulty_proxy(url, *Fault) as proxy:
        assert connect(proxy).result(job_id).rows == rows


def test_analyze_survives_a_restart_of_the_server(
    connect: Connect, queue: QueueSettings, store: WorkStore, rows: list[FrameRow], video: Path
) -> None:
    worker = Worker(store, rows)
    port = find_free_port()
    restarts: list[threading.Thread] = []

    def start_again() -> None:
        stack.enter_context(run_server(create_app(ApiSettings(min_free_bytes=0), queue=queue), port=port))

    def work_and_restart(progress: Progress) -> None:
        worker(progress)
        if progress.stage == "processing" and not restarts:
            stack.close()  # the server is gone before the client looks again
            restarts.append(threading.Thread(target=start_again))
            restarts[0].start()

    with contextlib.ExitStack() as stack:
        start_again()
        result = connect(f"http://127.0.0.1:{port}").analyze(video, poll_seconds=0, on_progress=work_and_restart)
        restarts[0].join()

    assert result.rows == rows


def test_server_that_is_not_there_is_told_in_a_sentence(connect: Connect) -> None:
    url = f"http://127.0.0.1:{find_free_port()}"

    with pytest.raises(NoAnswerError, match=f"Nothing answers at {url}"):
        connect(url, first_contact_seconds=0.3).job(MISSING)


def test_first_emotion_is_typed(emoclip: Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    assert isinstance(next(emoclip.rows(job_id)).faces[0].emotion, Emotion)
