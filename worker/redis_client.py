"""The connection to Redis: how it is made, how patient it is, and which two errors the rest of the service knows of."""

import contextlib
from collections.abc import Iterator

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from worker.settings import QueueSettings

__all__ = ["StoreFullError", "StoreUnavailableError", "create_redis_client", "translate_redis_errors"]


class StoreUnavailableError(Exception):
    """Redis did not answer or refused; nothing is known to be changed. Worth trying again later."""


class StoreFullError(StoreUnavailableError):
    """Redis has no memory left for what was to be written."""


def create_redis_client(settings: QueueSettings, *, retries: int = 1) -> redis.Redis:
    """Connect lazily; answers are bytes.

    Args:
        settings: Address and timeout.
        retries: Repetitions, half a second apart at the most, after a connection that broke: one for a request that
            somebody waits for, many for a worker, so that it sits out a restart of Redis.
    """
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=settings.redis_timeout_seconds,
        socket_connect_timeout=settings.redis_timeout_seconds,
        health_check_interval=15,
        retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), retries),
        retry_on_error=[redis.exceptions.BusyLoadingError],
    )


@contextlib.contextmanager
def translate_redis_errors() -> Iterator[None]:
    """Turn every error of Redis inside the context into one of the two above.

    Raises:
        StoreFullError: Redis is at its memory limit.
        StoreUnavailableError: Any other error of Redis.
    """
    try:
        yield
    except redis.RedisError as error:
        # inside a script Redis 6 gives the refusal as text of a general error, later versions as an error of its own
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM command not allowed" in str(error):
            raise StoreFullError("the job store's memory is full") from error
        raise StoreUnavailableError("the job store does not answer") from error
