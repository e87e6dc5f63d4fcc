"""`emoclip jobs`, as typed: what it prints for people and for programs, its exit codes, its sentences."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import main
from app.keys import KeysFile
from app.redis_server import find_free_port
from app.schemas import Job
from tests.app.conftest import CreateServer
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows
from worker.contract import ErrorCode, FrameRow, JobFailure, JobState
from worker.store import new_job_id
from worker.work_store import WorkStore

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rows() -> list[FrameRow]:
    return create_rows([[create_face(1)]] * 80)


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `emoclip jobs` against the server; returns exit code, standard output and standard error."""
    monkeypatch.setenv("EMOCLIP_URL", url)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("EMOCLIP_KEY", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["jobs", *map(str, arguments)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def fail(store: WorkStore, job_id: str, message: str) -> None:
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.fail(lease, JobFailure(code=ErrorCode.NO_VIDEO_STREAM, message=message))


def test_submit_prints_the_id_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_bytes(b"video")

    code, output, _ = run("submit", tmp_path / "talk.mp4", "--sample-fps", 5)
    _, shown, _ = run("show", output.strip(), "--json")

    job = Job.model_validate_json(shown)
    assert code == 0
    assert (job.id, job.upload.file_name, job.options.sample_fps) == (output.strip(), "talk.mp4", 5)


def test_submit_goes_on_after_a_file_that_is_missing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_bytes(b"video")

    code, output, errors = run("submit", tmp_path / "none.mp4", tmp_path / "talk.mp4")

    assert code == 1
    assert len(output.split()) == 1
    assert errors == f"{tmp_path / 'none.mp4'}: No such file or directory\n"


def test_list_shows_jobs_for_people_and_programs(run: Run, store: WorkStore, rows: list[FrameRow]) -> None:
    queued, done = create_job(store), create_job_with_rows(store, rows)

    code, table, _ = run("list")
    _, lines, _ = run("list", "--json")

    assert code == 0
    assert all(text in table for text in (queued, done, "queued", "succeeded", "talk.mp4", "80"))
    assert [json.loads(line)["id"] for line in lines.splitlines()] == sorted((queued, done), reverse=True)


def test_list_takes_a_limit(run: Run, store: WorkStore) -> None:
    ids = sorted((create_job(store) for _ in range(3)), reverse=True)

    assert [json.loads(line)["id"] for line in run("list", "--json", "--limit", 2)[1].splitlines()] == ids[:2]
    assert len(run("list", "--json", "--limit", 0)[1].splitlines()) == 3


def test_list_says_that_there_are_none(run: Run) -> None:
    assert run("list") == (0, "no jobs\n", "")
    assert run("list", "--json") == (0, "", "")


def test_show_tells_what_was_found(run: Run, store: WorkStore, rows: list[FrameRow]) -> None:
    code, output, _ = run("show", create_job_with_rows(store, rows))

    assert code == 0
    assert all(text in output for text in ("succeeded", "320 x 240, 3.20 s, h264", "track 1", "happiness 0.70"))


def test_show_tells_why_a_job_failed(run: Run, store: WorkStore) -> None:
    job_id = create_job(store)
    fail(store, job_id, "The file has no [video] stream.")

    assert "The file has no [video] stream. (no_video_stream)" in run("show", job_id)[1]


def test_wait_succeeds_with_its_jobs(run: Run, store: WorkStore, rows: list[FrameRow]) -> None:
    done = create_job_with_rows(store, rows)
    failed = create_job(store)
    fail(store, failed, "The file has no video stream.")

    assert run("wait", done) == (0, f"{done}: succeeded\n", "")
    assert run("wait", done, failed) == (
        1,
        f"{done}: succeeded\n{failed}: failed: The file has no video stream.\n",
        "",
    )


def test_wait_gives_up_in_time(run: Run, store: WorkStore) -> None:
    code, _, errors = run("wait", create_job(store), "--timeout", 0.05)

    assert code == 1
    assert "still queued after 0.05 s" in errors


def test_result_is_written_to_a_file_or_printed(
    run: Run, store: WorkStore, rows: list[FrameRow], tmp_path: Path
) -> None:
    job_id = create_job_with_rows(store, rows)

    code, printed, errors = run("result", job_id, "--format", "csv")
    run("result", job_id, "--out", tmp_path / "result.json")

    assert (code, errors) == (0, "")
    assert len(printed.splitlines()) == 81
    assert len(json.loads((tmp_path / "result.json").read_text())["rows"]) == 80


def test_result_of_a_job_that_runs_is_refused(run: Run, store: WorkStore) -> None:
    code, output, errors = run("result", create_job(store))

    assert (code, output) == (1, "")
    assert "still queued" in errors


def test_cancel_keeps_and_delete_erases(run: Run, store: WorkStore) -> None:
    job_id = create_job(store)

    assert run("cancel", job_id) == (0, f"{job_id}: canceled\n", "")
    job = store.get(job_id)
    assert job is not None
    assert job.state is JobState.CANCELED
    assert run("delete", job_id) == (0, f"{job_id}: deleted\n", "")
    assert store.get(job_id) is None


@pytest.mark.parametrize("verb", ["show", "wait", "result", "cancel", "delete"])
def test_unknown_job_is_told_in_a_line(run: Run, verb: str) -> None:
    job_id = new_job_id()

    code, output, errors = run(verb, job_id)

    assert (code, output) == (1, "")
    assert errors == f"{job_id}: There is no such job; it may have expired or been deleted.\n"


def test_one_unknown_job_does_not_stop_the_others(run: Run, store: WorkStore) -> None:
    job_id = create_job(store)

    code, output, _ = run("delete", new_job_id(), job_id)

    assert (code, output) == (1, f"{job_id}: deleted\n")


def test_server_that_is_not_there_is_told_in_a_line(run: Run) -> None:
    url = f"127.0.0.1:{find_free_port()}"

    code, _, errors = run("list", "--url", url)

    assert code == 1
    assert errors.startswith(f"Nothing answers at http://{url} ")
    assert "--url or EMOCLIP_URL" in errors
    assert errors.count("\n") == 1


def test_wrong_address_is_wrong_usage(run: Run) -> None:
    code, _, errors = run("list", "--url", "ftp://faces")

    assert code == 2
    assert "ftp://faces" in errors


def test_key_is_taken_from_the_environment(
    run: Run, create_server: CreateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = KeysFile(tmp_path / "keys").create("alice")
    url = create_server(api_keys_file=tmp_path / "keys")

    without = run("list", "--url", url)
    monkeypatch.setenv("EMOCLIP_KEY", key)

    assert without == (1, "", "The service asks for a valid API key: set EMOCLIP_KEY or give --key.\n")
    assert run("list", "--url", url) == (0, "no jobs\n", "")


def test_impossible_option_is_named(run: Run, tmp_path: Path) -> None:
    code, _, errors = run("submit", tmp_path / "talk.mp4", "--sample-fps", 0)

    assert code == 2
    assert errors.startswith("sample_fps: ")
