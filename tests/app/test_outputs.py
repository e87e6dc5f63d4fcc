"""Which videos are meant, and where their results go: known before anything is analysed."""

import os
from pathlib import Path

import pytest

from app.outputs import STDOUT, Output, OutputError, choose_names, plan_outputs
from app.video_paths import find_videos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MOV", "notes.txt", "sub/c.mkv", "sub/d [1].mp4", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def find(folder: Path, *arguments: str, recursive: bool = False) -> tuple[list[str], list[str]]:
    videos, fruitless = find_videos([f"{folder}/{argument}" for argument in arguments], recursive=recursive)
    return (
        [video.relative_to(folder).as_posix() for video in videos],
        [sentence.removeprefix(f"{folder}/") for sentence in fruitless],
    )


def test_find_videos_takes_named_files_as_they_are(folder: Path) -> None:
    assert find(folder, "notes.txt", "b.mp4") == (["notes.txt", "b.mp4"], [])


def test_find_videos_takes_the_videos_of_a_folder(folder: Path) -> None:
    assert find(folder, "") == (["a.MOV", "b.mp4"], [])
    assert find(folder, "", recursive=True) == (["a.MOV", "b.mp4", "sub/c.mkv", "sub/d [1].mp4"], [])


def test_find_videos_reads_patterns(folder: Path) -> None:
    assert find(folder, "*.mp4", "**/*.mkv") == (["b.mp4", "sub/c.mkv"], [])


def test_find_videos_takes_a_file_that_looks_like_a_pattern(folder: Path) -> None:
    assert find(folder, "sub/d [1].mp4") == (["sub/d [1].mp4"], [])


def test_find_videos_takes_each_once(folder: Path) -> None:
    assert find(folder, "b.mp4", "*.mp4", "sub/../b.mp4") == (["b.mp4"], [])


def test_find_videos_says_what_it_did_not_find(folder: Path) -> None:
    _, sentences = find(folder, "none.mp4", "*.webm", "empty", "b.mp4")

    assert sentences == ["none.mp4: no such file", "*.webm: no file matches", "empty: no video in this folder"]


def test_find_videos_says_what_cannot_be_read(folder: Path) -> None:
    videos, sentences = find(folder, "x" * 300, "b.mp4")

    assert videos == ["b.mp4"]
    assert sentences == [f"{'x' * 300}: cannot be read: File name too long"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_find_videos_says_that_a_folder_is_somebody_elses(folder: Path) -> None:
    (folder / "sub").chmod(0)

    assert find(folder, "sub", "b.mp4") == (["b.mp4"], ["sub: cannot be read: Permission denied"])


@pytest.mark.parametrize(
    ("videos", "names"),
    [
        (["a.mp4", "b.mp4"], ["a", "b"]),
        (["a.mp4", "a.mov"], ["a.mp4", "a.mov"]),
        (["x/a.mp4", "y/a.mp4", "b.mp4"], ["a.mp4", "a.mp4-2", "b"]),
        (["x/a.mp4", "y/A.mp4"], ["a.mp4", "A.mp4-2"]),
        (["a.mp4.mkv", "x/a.mp4", "y/a.mp4"], ["a.mp4", "a.mp4-2", "a.mp4-3"]),
    ],
)
def test_choose_names_gives_each_video_its_own(videos: list[str], names: list[str]) -> None:
    assert choose_names([Path(video) for video in videos]) == names


def test_plan_outputs_writes_every_form_of_every_video(tmp_path: Path) -> None:
    videos = [Path("x/a.mp4"), Path("b.mp4")]

    outputs = plan_outputs(videos, named=[], forms=["csv", "provenance", "png"], folder=tmp_path / "new" / "results")

    assert [[output.path.name for output in outputs[video]] for video in videos] == [
        ["a.csv", "a.provenance.json", "a.png"],
        ["b.csv", "b.provenance.json", "b.png"],
    ]
    assert (tmp_path / "new" / "results").is_dir()


def test_plan_outputs_writes_json_where_nothing_is_said(tmp_path: Path) -> None:
    outputs = plan_outputs([Path("a.mp4")], named=[], forms=[], folder=tmp_path)

    assert outputs == {Path("a.mp4"): [Output("json", tmp_path / "a.json")]}


def test_plan_outputs_sends_one_form_to_standard_output() -> None:
    assert plan_outputs([Path("a.mp4")], named=[], forms=["csv"], folder=None) == {
        Path("a.mp4"): [Output("csv", STDOUT)]
    }


def test_plan_outputs_writes_a_form_once_that_is_given_twice(tmp_path: Path) -> None:
    video = Path("a.mp4")

    assert plan_outputs([video], named=[], forms=["csv", "csv"], folder=None)[video] == [Output("csv", STDOUT)]
    assert plan_outputs(
        [video], named=[Output("csv", tmp_path / "a.csv")], forms=["csv", "json", "csv"], folder=tmp_path
    )[video] == [Output("csv", tmp_path / "a.csv"), Output("json", tmp_path / "a.json")]


def test_plan_outputs_writes_any_number_of_results_to_a_device() -> None:
    named = [Output(form, Path("/dev/null")) for form in ("json", "csv")]

    assert plan_outputs([Path("a.mp4")], named=named, forms=[], folder=None) == {Path("a.mp4"): named}


def test_plan_outputs_refuses_two_videos_whose_results_have_one_name(tmp_path: Path) -> None:
    videos = [Path("a.mp4"), Path("a.provenance.mp4")]

    with pytest.raises(OutputError, match=r"two results would be written to .*/a\.provenance\.json"):
        plan_outputs(videos, named=[], forms=["json", "provenance"], folder=tmp_path)


@pytest.mark.parametrize(
    ("videos", "named", "forms", "message"),
    [
        (["a.mp4"], [], ["xlsx"], "no format 'xlsx', only json, ndjson, csv"),
        (["a.mp4", "b.mp4"], [], ["csv"], "2 videos need a folder"),
        (["a.mp4", "b.mp4"], [Output("json", Path("a.json"))], [], "2 videos need a folder"),
        (["a.mp4"], [], ["csv", "json"], "standard output takes one result"),
        (["a.mp4"], [Output("png", STDOUT)], [], "a picture needs a file"),
        (["a.mp4"], [Output("json", Path("none/a.json"))], [], "the folder of none/a.json does not exist"),
        (["a.mp4"], [Output("json", Path())], [], "is a folder"),
        (["a.mp4"], [Output("json", Path("x")), Output("csv", Path("app/../x"))], [], "two results would be written"),
        (["a.mp4"], [Output("json", Path("a.mp4"))], [], "is a video to analyse"),
    ],
)
def test_plan_outputs_refuses_what_cannot_be_written(
    videos: list[str], named: list[Output], forms: list[str], message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        plan_outputs([Path(video) for video in videos], named=named, forms=forms, folder=None)


def test_plan_outputs_refuses_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").touch()

    with pytest.raises(OutputError, match="cannot be a folder"):
        plan_outputs([Path("a.mp4")], named=[], forms=[], folder=tmp_path / "results")
