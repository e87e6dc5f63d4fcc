"""The Celery application, as a caller and as a worker needs it. Tasks are addressed by name, so callers import no task.

A message is only a doorbell: it says that a step may be due, and the claim in WorkStore decides. So a message may be
lost, doubled or late without harm, it is never acknowledged, and results are never sent through Celery. Free of torch,
numpy and PyAV.
"""

import logging

from celery import Celery
from kombu import Exchange, Queue
from kombu.exceptions import OperationalError

from worker.settings import QueueSettings
from worker.work_store import ERASE, FINISH, INDEX, Bell

__all__ = ["ANALYZE_SEGMENT", "FINISH_JOB", "INDEX_JOB", "SWEEP", "create_celery", "ring"]

INDEX_JOB = "emoclip.index_job"
ANALYZE_SEGMENT = "emoclip.analyze_segment"
FINISH_JOB = "emoclip.finish_job"
SWEEP = "emoclip.sweep"

logger = logging.getLogger(__name__)


def create_celery(settings: QueueSettings) -> Celery:
    """Return an application that speaks JSON over Redis and connects only when it is used."""
    app = Celery("emoclip", broker=settings.redis_url, set_as_current=False)
    name = settings.queue_name
    app.conf.update(
        # pickle would let anyone who can write to Redis run code in a worker
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        # also without a result backend: a publish to a Redis that is down then fails in 0.6 s instead of 19 s
        task_ignore_result=True,
        # No acknowledgements. kombu (5.7) keeps what it could not acknowledge as delivered for ever: one Redis that is
        # away when a task ends, and a worker that takes one message at a time never takes another one. What an
        # acknowledgement would give, a step that outlives its worker, leases and the sweeper give without it.
        task_queues=[Queue(name, Exchange(name), routing_key=name, no_ack=True)],
        task_default_queue=name,
        # one message at a time: a worker that dies holds back no other job's message
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        broker_transport_options={
            "ack_emulation": False,
            "socket_timeout": settings.redis_timeout_seconds,
            "socket_connect_timeout": settings.redis_timeout_seconds,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "retry_on_timeout": True,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2},
        # work goes on through a short loss of the connection; the lease decides whether its result still counts
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # one process that analyses: torch spreads over the cores by its threads. Its parent stays light, survives a
        # crash of native code in it, and starts another one.
        worker_pool="prefork",
        worker_concurrency=1,
        # SIGTERM drains within a batch (worker.tasks); this is for SIGQUIT and a second Ctrl-C
        worker_soft_shutdown_timeout=5.0,
        # the store's heartbeat and cancel flag need neither broadcasts nor events
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_redirect_stdouts=False,
        timezone="UTC",
    )
    return app


def ring(app: Celery, bell: Bell) -> bool:
    """Send the message of a step that is due.

    Returns:
        False where it could not be sent; the sweeper then does it later.
    """
    name, arguments = _address(bell)
    try:
        app.send_task(name, args=arguments)
    except OperationalError:
        logger.warning("job %s: message for %s could not be sent, the sweeper will", bell.job_id, bell.unit)
        return False
    return True


def _address(bell: Bell) -> tuple[str, list[str | int]]:
    if bell.unit == INDEX:
        return INDEX_JOB, [bell.job_id]
    if bell.unit == FINISH:
        return FINISH_JOB, [bell.job_id]
    assert bell.unit != ERASE, "the sweeper erases uploads itself"
    return ANALYZE_SEGMENT, [bell.job_id, int(bell.unit)]
