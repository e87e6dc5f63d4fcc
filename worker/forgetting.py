"""Forgetting: what was erased from Redis' memory must not stay in its append-only file.

The file records every write, and so keeps a deleted job, its file name and its rows until Redis rewrites it, which by
itself it does only when it has doubled. Here it is asked to, soon after something was erased, and once an hour for what
expired. A rewrite writes out all that is kept, so the next one waits for twenty times as long as the last one took.
"""

import logging
import time
from typing import Any

import redis

from worker.redis_client import translate_redis_errors

__all__ = ["Forgetting"]

_FORGOTTEN_KEY = "emoclip:forgotten"
_KEPT_SECONDS = 24 * 3600
_HOUR_SECONDS = 3600.0
_REST = 20

logger = logging.getLogger(__name__)


class Forgetting:
    """Rewrites the append-only file when something in it is to be forgotten; workers do so side by side."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._rewritten_at = time.monotonic()
        self._is_allowed = True

    def forget(self) -> None:
        """Start a rewrite if one is needed; to be called again and again.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        if not self._is_allowed:
            return
        with translate_redis_errors():
            state: Any = self._redis.info("persistence")  # redis-py gives this no useful type
            erased, forgotten = self._count_erased(), self._redis.get(_FORGOTTEN_KEY)
        if not state["aof_enabled"] or state["aof_rewrite_in_progress"]:
            return
        rested_seconds = time.monotonic() - self._rewritten_at
        if rested_seconds < _REST * max(state["aof_last_rewrite_time_sec"], 0):
            return
        if (erased is not None and erased != forgotten) or rested_seconds > _HOUR_SECONDS:
            self._rewrite(erased or b"")

    def _count_erased(self) -> bytes | None:
        """Return how often this run of Redis erased something on request, by its own count; None where never."""
        server: Any = self._redis.info("server")
        commands: Any = self._redis.info("commandstats")
        calls = commands.get("cmdstat_unlink", {}).get("calls", 0)
        return f"{server['run_id']}:{calls}".encode() if calls else None

    def _rewrite(self, erased: bytes) -> None:
        self._rewritten_at = time.monotonic()
        with translate_redis_errors():
            try:
                self._redis.bgrewriteaof()
            except redis.exceptions.ResponseError as error:
                if "in progress" not in str(error):  # another worker was faster, and this one looks again
                    self._is_allowed = False
                    logger.warning("Redis keeps what is erased in its append-only file until it rewrites it: %s", error)
                return
            self._redis.set(_FORGOTTEN_KEY, erased, ex=_KEPT_SECONDS)
