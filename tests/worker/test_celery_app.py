"""What callers and workers rely on in the Celery application, against a real Redis."""

import ast
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Message

from app.processes import stop_process
from app.redis_server import RedisServer
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


def test_message_that_ends_while_redis_is_away_does_not_hold_back_the_next(tmp_path: Path) -> None:
    # with acknowledgements the worker would wait for this one's for ever
    server = RedisServer(tmp_path)
    process = server.start()
    app = create_celery(QueueSettings(redis_url=server.url))
    messages: list[Message] = []
    with app.connection_for_read() as connection:
        channel: Any = connection.channel()  # a channel of kombu's Redis transport
        consumer = app.amqp.TaskConsumer(channel, on_message=messages.append)
        consumer.qos(prefetch_count=1)
        consumer.consume()
        ring(app, Bell("ab", INDEX))
        connection.drain_events(timeout=60)
        stop_process(process, grace_seconds=5)
        messages[0].ack_log_error(logging.getLogger(__name__), connection.connection_errors)
        assert channel.qos.can_consume()
    app.close()


def test_taken_message_leaves_nothing_behind(redis_client: redis.Redis, redis_url: str) -> None:
    app = create_celery(QueueSettings(redis_url=redis_url))
    ring(app, Bell("ab", INDEX))
    with app.connection_for_read() as connection:
        consumer = app.amqp.TaskConsumer(connection.channel(), on_message=lambda _: None)
        consumer.consume()
        connection.drain_events(timeout=60)
    assert redis_client.keys("emoclip*") == redis_client.keys("*unacked*") == []
    app.close()


def test_no_result_backend_is_used() -> None:
    conf = create_celery(QueueSettings()).conf
    assert conf.task_ignore_result
    assert conf.result_backend is None
