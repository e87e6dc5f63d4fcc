"""Extraction: real videos and stills to crops on disk; resumed, counted, clear about bad input."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from tests.videos import write_constant_rate, write_face
from worker.extract import main


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    photo = cv2.cvtColor(np.asarray(data.astronaut(), np.uint8), cv2.COLOR_RGB2BGR)
    for name, image in {
        "happiness/a.png": photo[30:220, 130:320],
        "happiness/small.png": cv2.resize(photo[60:200, 160:290], (48, 48), interpolation=cv2.INTER_AREA),
        "neutral/nobody.png": np.full((40, 60, 3), 90, np.uint8),
    }.items():
        path = tmp_path / "stills" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
    (tmp_path / "stills" / "neutral" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "stills" / "labels.csv").write_text("image,label\n")
    return tmp_path / "stills"


def test_stills_keep_folders_and_are_counted(stills: Path, tmp_path: Path) -> None:
    assert main(["--stills", str(stills), str(tmp_path / "out")]) == 0

    crops = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.jpg"))
    assert crops == ["happiness/a.jpg", "happiness/small.jpg", "neutral/nobody.jpg"]
    report = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert report == {"images": 4, "without_face": 1, "unreadable": 1, "already_there": 0}
    assert (tmp_path / "out" / "labels.csv").exists()


def test_stills_of_different_size_show_the_face_alike(stills: Path, tmp_path: Path) -> None:
    main(["--stills", str(stills), str(tmp_path / "out")])

    large, small = (cv2.imread(str(tmp_path / "out" / "happiness" / f"{name}.jpg"), 0) for name in ("a", "small"))
    assert large is not None
    assert small is not None
    assert large.shape == small.shape == (256, 256)
    inner = slice(48, 208)  # the border shows what lies beyond the small still
    blurred = [cv2.GaussianBlur(image[inner, inner], (0, 0), 6).ravel() for image in (large, small)]
    first, second = ((b - b.mean()) / b.std() for b in blurred)
    assert float((first * second).mean()) > 0.9  # two different faces correlate far less


def test_stills_resume_where_they_stopped(stills: Path, tmp_path: Path) -> None:
    main(["--stills", str(stills), str(tmp_path / "out")])
    kept = tmp_path / "out" / "happiness" / "a.jpg"
    kept.write_bytes(b"made before")
    (tmp_path / "out" / "neutral" / "nobody.jpg").unlink()

    main(["--stills", str(stills), str(tmp_path / "out")])

    assert kept.read_bytes() == b"made before"
    assert (tmp_path / "out" / "neutral" / "nobody.jpg").exists()


def test_stills_of_earlier_runs_are_counted(stills: Path, tmp_path: Path) -> None:
    main(["--stills", str(stills), str(tmp_path / "out")])

    main(["--stills", str(stills), str(tmp_path / "out")])

    report = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert report == {"images": 4, "without_face": 1, "unreadable": 1, "already_there": 3}


def test_stills_that_differ_in_their_suffix_alone_are_both_kept(stills: Path, tmp_path: Path) -> None:
    (stills / "neutral" / "a.bmp").write_bytes(cv2.imencode(".bmp", np.full((40, 60, 3), 90, np.uint8))[1].tobytes())
    (stills / "neutral" / "a.png").write_bytes((stills / "happiness" / "a.png").read_bytes())

    main(["--stills", str(stills), str(tmp_path / "out")])

    crops = [cv2.imread(str(tmp_path / "out" / "neutral" / name), 0) for name in ("a.jpg", "a.png.jpg")]
    assert [crop is not None and bool(crop.std() > 1) for crop in crops] == [False, True]


def test_videos_become_the_layout_of_affwild2(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_face(tmp_path / "videos" / "speaker.mp4", frames=12)
    write_constant_rate(tmp_path / "videos" / "nobody.mp4", frames=9)

    assert main([str(tmp_path / "videos"), str(tmp_path / "out")]) == 0

    crops = sorted(p.name for p in (tmp_path / "out" / "cropped_aligned" / "speaker").glob("*.jpg"))
    assert crops == [f"{number:05}.jpg" for number in range(1, 13)]
    report = json.loads((tmp_path / "out" / "extract.json").read_text())
    assert report["nobody"] == {"crops": 0, "without_face": 9, "error": ""}
    assert report["speaker"] == {"crops": 12, "without_face": 0, "error": ""}


def test_videos_that_are_done_are_left_alone(tmp_path: Path) -> None:
    write_face(tmp_path / "speaker.mp4", frames=8)
    main([str(tmp_path / "speaker.mp4"), str(tmp_path / "out")])
    (tmp_path / "out" / "cropped_aligned" / "speaker" / "00003.jpg").unlink()

    main([str(tmp_path / "speaker.mp4"), str(tmp_path / "out")])

    assert not (tmp_path / "out" / "cropped_aligned" / "speaker" / "00003.jpg").exists()


def test_a_file_that_is_no_video_is_named_and_the_others_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "note.txt").write_text("hello")
    write_face(tmp_path / "videos" / "speaker.mp4", frames=8)

    assert main([str(tmp_path / "videos"), str(tmp_path / "out")]) == 2

    assert "note" in capsys.readouterr().err
    assert (tmp_path / "out" / "cropped_aligned" / "speaker" / "00008.jpg").exists()


def test_a_missing_source_gives_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stills", str(tmp_path / "nothing"), str(tmp_path / "out")]) == 2

    assert capsys.readouterr().err.startswith("error: ")
