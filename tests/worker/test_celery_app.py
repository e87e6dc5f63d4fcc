"""What callers and workers rely on in the Celery application, against a real Redis."""

import ast
import json

import pytest
import redis

from worker.celery_app import ANALYZE_SEGMENT, FINISH_JOB, INDEX_JOB, create_celery, ring
from worker.settings import QueueSettings
from worker.work_store import FINISH, INDEX, Bell


@pytest.mark.parametrize(
    ("unit", "task", "arguments"),
    [(INDEX, INDEX_JOB, ["ab"]), ("7", ANALYZE_SEGMENT, ["ab", 7]), (FINISH, FINISH_JOB, ["ab"])],
)
def test_bell_rings_the_task_of_its_step(
    redis_client: redis.Redis, redis_url: str, unit: str, task: str, arguments: list[object]
) -> None:
    app = create_celery(QueueSettings(redis_url=redis_url))
    assert ring(app, Bell("ab", unit))
    message = json.loads(redis_client.lindex("emoclip", 0) or b"{}")
    assert message["headers"]["task"] == task
    assert message["content-type"] == "application/json"
    assert ast.literal_eval(message["headers"]["argsrepr"]) == arguments
    app.close()


def test_bell_of_an_unreachable_redis_fails_soon_and_quietly() -> None:
    assert not ring(create_celery(QueueSettings(redis_url="redis://127.0.0.1:1/0")), Bell("ab", INDEX))


def test_pickle_is_never_accepted() -> None:
    assert create_celery(QueueSettings()).conf.accept_content == ["json"]


def test_visibility_timeout_stands_in_all_its_places() -> None:
    conf = create_celery(QueueSettings(visibility_timeout_seconds=77)).conf
    places = (conf.broker_transport_options, conf.result_backend_transport_options, conf)
    assert [place["visibility_timeout"] for place in places] == [77, 77, 77]


def test_no_result_backend_is_used() -> None:
    conf = create_celery(QueueSettings()).conf
    assert conf.task_ignore_result
    assert conf.result_backend is None
