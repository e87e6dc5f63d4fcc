"""The command line: what it writes and prints, its exit codes, and what it leaves unloaded."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from app.commands.exit_codes import ExitCode
from app.exports.head import Result
from model.labels import EMOTIONS
from tests.app.stored_jobs import create_job
from worker.work_store import WorkStore


@pytest.fixture
def few_frames(sample_video: Path) -> list[str]:
    """Arguments that analyse the sample at two frames a second."""
    return ["analyze", str(sample_video), "--sample-fps", "2"]


def test_analyze_writes_what_the_api_returns(few_frames: list[str], tmp_path: Path) -> None:
    json_path, csv_path, plot_path = (tmp_path / name for name in ("result.json", "rows.csv", "timeline.png"))
    outputs = ["--json", str(json_path), "--csv", str(csv_path), "--plot", str(plot_path)]
    assert main(few_frames + outputs) == 0

    content = json.loads(json_path.read_text())
    assert {"video", "model", "summary", "rows"} <= content.keys()
    result = Result.model_validate(content)
    assert (result.video.frame_count, result.video.analysed_frames, len(result.rows)) == (175, 14, 14)
    faces = [(row.frame, face) for row in result.rows for face in row.faces]
    with csv_path.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["track"]]
    assert [(int(line["frame"]), int(line["track"])) for line in lines] == [(n, face.track) for n, face in faces]
    assert plot_path.read_bytes().startswith(b"\x89PNG")


def test_analyze_prints_a_readable_report(few_frames: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(few_frames) == 0
    output = capsys.readouterr().out
    assert "sample.mp4" in output
    assert "480 x 360, 7.00 s, 14 of 175 frames analysed" in output
    assert any(emotion.value in output for emotion in EMOTIONS)


def test_analyze_of_several_goes_on_after_a_bad_one(
    sample_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("a/clip.mp4", "a/clip.mov"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(sample_video, tmp_path / name)
    (tmp_path / "notes.mp4").write_text("not a video\n")
    videos = [str(tmp_path / "notes.mp4"), str(tmp_path / "*" / "clip.*")]

    code = main(
        ["analyze", *videos, "--out", str(tmp_path / "out"), "--format", "json,png", "--format", "vtt"]
        + ["--sample-fps", "2"]
    )

    assert code == 1
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"clip.{video}.{form}" for video in ("mov", "mp4") for form in ("json", "png", "vtt")]
    captured = capsys.readouterr()
    assert f"{tmp_path / 'notes.mp4'}: " in captured.err
    assert "2 analysed, 1 not" in captured.err
    assert [name in captured.out for name in ("clip.mov", "clip.mp4", "notes.mp4")] == [True, True, False]
    result = Result.model_validate_json((tmp_path / "out" / "clip.mov.json").read_text())
    assert (result.source.file_name, len(result.rows)) == ("clip.mov", 14)


def test_analyze_leaves_standard_output_to_the_result(
    few_frames: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*few_frames, "--format", "csv"]) == 0

    captured = capsys.readouterr()
    lines = list(csv.DictReader(io.StringIO(captured.out, newline="")))
    assert len({line["frame"] for line in lines}) == 14
    assert "14 of 175 frames analysed" in captured.err


def test_analyze_refuses_wrong_usage_without_loading_the_networks(sample_video: Path) -> None:
    command = f"import sys, app.cli; code = app.cli.main({['analyze', str(sample_video), '--format', 'xlsx']!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"{command}; print(*sys.modules); sys.exit(code)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("there is no format 'xlsx', only json, ndjson, csv, ")
    assert done.stderr.count("\n") == 1
    assert "torch" not in done.stdout.split()


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([], ["analyze"], ["jobs"]):
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--help"])
        assert stopped.value.code == ExitCode.DONE
        output = capsys.readouterr().out
        assert all(f"\n  {code.value:<5}" in output for code in ExitCode), output


def test_output_that_nobody_reads_ends_quietly(url: str, store: WorkStore) -> None:
    for _ in range(3):
        create_job(store)
    listing = [sys.executable, "-m", "app.cli", "jobs", "list", "--json", "--url", url]
    with subprocess.Popen(listing, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == ExitCode.FAILED


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing.mp4", None), ("notes.mp4", b"not a video\n"), ("empty.mp4", b"")],
    ids=["missing", "text", "empty"],
)
def test_analyze_answers_a_bad_file_with_one_line(
    name: str, content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / name
    if content is not None:
        video.write_bytes(content)
    assert main(["analyze", str(video)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"{video}: ")
    assert errors.count("\n") == 1


def test_analyze_refuses_an_impossible_option_by_name(sample_video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(sample_video), "--sample-fps", "0"]) == 2
    assert "sample_fps" in capsys.readouterr().err


def test_analyze_tells_before_the_work_that_a_result_has_no_folder(
    sample_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(sample_video), "--json", str(tmp_path / "none" / "a.json")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_analyze_tells_that_the_weights_are_none(
    sample_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"none")
    monkeypatch.setenv("EMOCLIP_WEIGHTS", str(weights))
    assert main(["analyze", str(sample_video)]) == 1
    assert str(weights) in capsys.readouterr().err


def test_analyze_refuses_to_decode_with_an_outdated_decoder(
    sample_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = tmp_path / "av-17.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: av\nVersion: 17.1.0\n")
    monkeypatch.syspath_prepend(tmp_path)  # hides what is installed

    assert main(["analyze", str(sample_video)]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("expected PyAV 18.1.0 or newer, got 17.1.0")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_serve_refuses_a_data_directory_that_is_a_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    assert main(["serve", "--port", "0", "--data-dir", str(tmp_path / name)]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"{tmp_path / name} cannot be a folder for the service: ")
    assert errors.count("\n") == 1


def test_wrong_setting_is_named_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOCLIP_PORT", "many")
    assert main(["api"]) == 2
    assert capsys.readouterr().err.startswith("port: ")


def test_missing_file_of_keys_is_named_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMOCLIP_API_KEYS_FILE", str(tmp_path / "keys"))
    assert main(["api"]) == 2
    assert str(tmp_path / "keys") in capsys.readouterr().err


def test_command_line_itself_loads_neither_service_nor_network() -> None:
    code = "import sys, app.cli; app.cli.create_parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "av", "celery", "fastapi", "uvicorn", "matplotlib"}.isdisjoint(loaded)
