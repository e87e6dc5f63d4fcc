"""The embedded redis-server: answers, asks for its password, keeps its data when told to, leaves nothing behind."""

import contextlib
from pathlib import Path

import pytest
import redis

from app.redis_server import run_redis_server


def test_run_redis_server_refuses_clients_without_the_password(redis_url: str) -> None:
    port = redis.ConnectionPool.from_url(redis_url).connection_kwargs["port"]
    with contextlib.closing(redis.Redis(port=port)) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_run_redis_server_keeps_data_when_append_only(tmp_path: Path) -> None:
    with run_redis_server(tmp_path, append_only=True) as url, contextlib.closing(redis.Redis.from_url(url)) as client:
        client.set("kept", "yes")
    with run_redis_server(tmp_path, append_only=True) as url, contextlib.closing(redis.Redis.from_url(url)) as client:
        assert client.get("kept") == b"yes"


def test_run_redis_server_is_gone_after_the_context(tmp_path: Path) -> None:
    with run_redis_server(tmp_path) as url:
        pass
    with contextlib.closing(redis.Redis.from_url(url)) as client, pytest.raises(redis.ConnectionError):
        client.ping()
