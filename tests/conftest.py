"""What every test may ask for: a real redis-server, a clean database in it, and the optional shared data."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.redis_server import run_redis_server

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a redis-server that lives as long as the test session."""
    with run_redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """Client of that server (answers are bytes), its database emptied before and after the test."""
    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of data that does not belong to the project: EMOCLIP_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("EMOCLIP_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"optional data not found: {folder.name} (set EMOCLIP_DATA)")
    return folder


@pytest.fixture(scope="session")
def sample_video() -> Path:
    """The bundled sample: one smiling face of changing size, H.264, 25 frames a second."""
    return ROOT / "tests" / "assets" / "sample.mp4"
