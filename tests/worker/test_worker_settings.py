"""What WorkerSettings refuses before a worker starts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.settings import WorkerSettings


def test_segments_lie_on_the_grid_of_clips() -> None:
    with pytest.raises(ValidationError, match="multiple of 8"):
        WorkerSettings(segment_frames=12)


def test_weights_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="weights"):
        WorkerSettings(weights=tmp_path / "missing.safetensors")


def test_resnet50_detector_wants_its_weights() -> None:
    with pytest.raises(ValidationError, match="detector_weights"):
        WorkerSettings(detector="resnet50")


def test_frames_are_not_scaled_up_beyond_the_long_side() -> None:
    with pytest.raises(ValidationError, match="upscale_to"):
        WorkerSettings(long_side=320)


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCLIP_SEGMENT_FRAMES", "64")
    assert WorkerSettings().segment_frames == 64
