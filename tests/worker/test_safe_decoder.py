"""A PyAV with a known hole is refused: when a worker starts, and wherever a video would be decoded."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import videos
from worker.decode import DecodeLimits, iter_frames
from worker.index import fallback_plan
from worker.safe_decoder import UnsafeDecoderError, require_safe_decoder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["17.1.0", "18.0.9", "18.1.0rc1"])
def outdated(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose metadata hides those of the installed PyAV, first on this process's path."""
    metadata = tmp_path / f"av-{request.param}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: av\nVersion: {request.param}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("av") == request.param
    return tmp_path


def test_the_installed_decoder_is_safe() -> None:
    require_safe_decoder()


@pytest.mark.usefixtures("outdated")
def test_an_older_decoder_is_refused_before_a_video_is_read(tmp_path: Path) -> None:
    video = videos.write_constant_rate(tmp_path / "video.mp4", 8)

    with pytest.raises(UnsafeDecoderError, match=r"expected PyAV 18\.1\.0 or newer"):
        list(iter_frames(video, fallback_plan(), sample_fps=None, limits=DecodeLimits()))


@pytest.mark.parametrize("outdated", ["17.1.0"], indirect=True)
@pytest.mark.parametrize("command", [["-m", "worker.tasks"], ["-m", "app.cli", "worker"]])
def test_a_worker_with_an_older_decoder_does_not_start(command: list[str], outdated: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{outdated}{os.pathsep}{ROOT}"}

    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("expected PyAV 18.1.0 or newer, got 17.1.0")
    assert len(done.stderr.splitlines()) == 1
