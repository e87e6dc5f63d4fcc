"""The API as its clients meet it: behind a real socket, in front of a real Redis."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import redis
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from app.main import create_app
from app.server import ApiServer
from app.settings import ApiSettings
from worker.settings import QueueSettings
from worker.work_store import WorkStore

CreateServer = Callable[..., str]


@pytest.fixture(scope="session")
def session_queue(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> QueueSettings:
    """Settings of the session's Redis and of one directory of uploads."""
    return QueueSettings(redis_url=redis_url, media_dir=tmp_path_factory.mktemp("uploads") / "media")


@pytest.fixture
def queue(session_queue: QueueSettings, redis_client: redis.Redis) -> QueueSettings:
    """The same settings, with nothing in Redis and no upload on the disk."""
    shutil.rmtree(session_queue.media_dir, ignore_errors=True)
    return session_queue


@pytest.fixture
def store(redis_client: redis.Redis, queue: QueueSettings) -> WorkStore:
    return WorkStore(redis_client, queue)


@pytest.fixture(scope="session")
def session_url(session_queue: QueueSettings) -> Iterator[str]:
    """A server for all tests that need no settings of their own: at most five megabytes a video."""
    with run_server(create_app(ApiSettings(min_free_bytes=0, max_upload_bytes=5_000_000), queue=session_queue)) as url:
        yield url


@pytest.fixture
def url(session_url: str, queue: QueueSettings) -> str:
    """URL of that server, with nothing stored in it."""
    return session_url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """Client of that server."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture
def create_server(queue: QueueSettings) -> Iterator[CreateServer]:
    """Start a uvicorn on a free port and return its URL; settings of the API are its keyword arguments."""
    with contextlib.ExitStack() as stack:

        def create(*, queue: QueueSettings = queue, **settings: object) -> str:
            api = ApiSettings.model_validate({"min_free_bytes": 0, **settings})
            return stack.enter_context(run_server(create_app(api, queue=queue)))

        yield create


@contextlib.contextmanager
def run_server(app: ASGIApp, *, root_path: str = "", graceful_seconds: int = 5, port: int = 0) -> Iterator[str]:
    """Serve an application from a thread of this process."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        server = ApiServer(
            uvicorn.Config(app, root_path=root_path, log_level="critical", timeout_graceful_shutdown=graceful_seconds),
            before_stop=app.state.live.watcher.stop if isinstance(app, FastAPI) else lambda: None,
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
