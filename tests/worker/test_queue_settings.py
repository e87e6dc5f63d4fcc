"""The address of Redis and its password, which may stand in a file of its own."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.settings import QueueSettings


def test_password_file_completes_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("a/b@c\n")
    monkeypatch.setenv("EMOCLIP_REDIS_URL", "redis://jobs:6380/1")
    monkeypatch.setenv("EMOCLIP_REDIS_PASSWORD_FILE", str(file))
    assert QueueSettings().redis_url == "redis://:a%2Fb%40c@jobs:6380/1"


def test_two_passwords_are_refused_without_showing_them(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    with pytest.raises(ValidationError, match="expected no password") as refusal:
        QueueSettings(redis_url="redis://:secret@jobs/0", redis_password_file=file)
    assert "secret" not in str(refusal.value)


def test_missing_password_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="redis_password_file cannot be read"):
        QueueSettings(redis_password_file=tmp_path / "none")
