"""`emoclip analyze --overlay`: an MP4 with every frame and the provenance; what is refused before any work."""

from pathlib import Path

import av
import numpy as np
import pytest

from app.cli import main
from app.exports.head import Provenance
from tests.videos import reference_frames


def test_analyze_writes_an_annotated_video(sample_video: Path, tmp_path: Path) -> None:
    output = tmp_path / "annotated.mp4"
    arguments = ["analyze", str(sample_video), "--sample-fps", "2", "--overlay", str(output), "--blur-faces", "-q"]

    assert main(arguments) == 0

    before, after = list(reference_frames(sample_video)), list(reference_frames(output))
    assert [seconds for seconds, _ in after] == [seconds for seconds, _ in before]
    face = (slice(100, 260), slice(170, 310))
    assert detail(after[50][1][face]) < detail(before[50][1][face]) / 3
    with av.open(str(output)) as container:
        provenance = Provenance.model_validate_json(container.metadata["comment"])
    assert (provenance.source.file_name, provenance.options.sample_fps) == ("sample.mp4", 2)
    assert provenance.model.runtime is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotated.mp4"]


def detail(picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> float:
    """Mean difference between neighbouring pixels."""
    return float(np.abs(np.diff(picture.astype(np.float64), axis=0)).mean())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--overlay", "out.webm"], "will be an MP4"),
        (["--overlay", "-"], "needs a file"),
        (["--format", "mp4"], "needs a file"),
        (["--blur-faces"], "is for annotated videos"),
    ],
)
def test_analyze_refuses_what_cannot_become_an_annotated_video(
    sample_video: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(sample_video), *arguments]) == 2

    assert sentence in capsys.readouterr().err


def test_analyze_does_not_write_over_its_own_video(sample_video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(sample_video), "--overlay", str(sample_video)]) == 2

    assert "not a place for its result" in capsys.readouterr().err
