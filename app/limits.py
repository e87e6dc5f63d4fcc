"""Limits of an API key: requests a minute, jobs on their way, bytes a day. Counted in Redis, for all API processes.

Requests and bytes are buckets that fill again evenly: a whole minute's or day's worth may be used at once, and the time
until there is room is known exactly. A bucket is one number, the time at which it will be full again (GCRA), in a key
that expires at that time. A job is counted from before its video is received until it ends. Each decision is one
script, so that requests at the same time cannot get past a limit together. Where no key is asked for there is no limit.
"""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis
from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ApiError, DailyBytesError, RateLimitedError, TooManyJobsError
from app.problems import create_problem_response
from worker.redis_client import StoreUnavailableError, translate_redis_errors

__all__ = ["KeyLimits", "LimitBook", "RequestLimitMiddleware"]

_MINUTE_MS = 60_000
_DAY_MS = 24 * 3600 * 1000

logger = logging.getLogger(__name__)

_BUCKET = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

-- takes an amount (or gives it back, below zero); answers 0, or the milliseconds until there is room for it
local function take(bucket, amount, limit, period)
  local full_at = math.max(tonumber(redis.call('GET', bucket) or '0'), now) + amount * period / limit
  if full_at - now > period + 0.5 then return math.ceil(full_at - now - period) end
  if full_at - now < 1 then
    redis.call('DEL', bucket)
  else
    redis.call('SET', bucket, string.format('%.4f', full_at), 'PX', whole(full_at - now))
  end
  return 0
end
"""

_TAKE = (
    _BUCKET
    + """
-- KEYS: bucket; ARGV: amount, limit, period in ms
return take(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
"""
)

_ADMIT = (
    _BUCKET
    + """
-- KEYS: the owner's jobs on their way, bucket of bytes
-- ARGV: id, time in ms after which an upload without a job counts no more, most jobs, bytes, most bytes, period in ms
-- answers {0, 0}, or which limit it was and the milliseconds until there is room
local open, bytes = KEYS[1], KEYS[2]
local id, ttl, most_jobs, size, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]),
  tonumber(ARGV[5])
if redis.call('ZSCORE', open, id) then return {0, 0} end
redis.call('ZREMRANGEBYSCORE', open, '-inf', whole(now))
if most_jobs > 0 and redis.call('ZCARD', open) >= most_jobs then
  -- a job that expired before it came to an end has left its name behind
  for _, job_id in ipairs(redis.call('ZRANGEBYSCORE', open, '+inf', '+inf')) do
    if redis.call('EXISTS', 'emoclip:job:' .. job_id) == 0 then redis.call('ZREM', open, job_id) end
  end
  if redis.call('ZCARD', open) >= most_jobs then return {1, 0} end
end
if most_bytes > 0 then
  local wait = take(bytes, size, most_bytes, tonumber(ARGV[6]))
  if wait > 0 then return {2, wait} end
end
redis.call('ZADD', open, whole(now + ttl), id)
redis.call('PEXPIRE', open, whole(math.max(redis.call('PTTL', open), ttl)))
return {0, 0}
"""
)

_SETTLE = (
    _BUCKET
    + """
-- KEYS: the owner's jobs on their way, bucket of bytes; ARGV: id, bytes to give back, most bytes, period in ms, 1 to go
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[5] == '1' and score and score ~= 'inf' then redis.call('ZREM', KEYS[1], ARGV[1]) end
if tonumber(ARGV[3]) > 0 then take(KEYS[2], -tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])) end
return 0
"""
)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one API key may do; 0 is no limit."""

    requests_per_minute: int = 0
    open_jobs: int = 0
    bytes_per_day: int = 0


@dataclass(slots=True)
class Admission:
    """An upload that was let in."""

    size_bytes: int
    """What it is charged with: what the client announced, until the upload says what arrived."""


class LimitBook:
    """Takes from the limits of an owner, and gives back; an owner without a name (keys are off) has none.

    Every method may raise StoreUnavailableError. For threads, not for the event loop, but for `admitted`.
    """

    def __init__(self, client: redis.Redis, limits: KeyLimits) -> None:
        self._limits = limits
        self._take, self._admit, self._settle = (client.register_script(text) for text in (_TAKE, _ADMIT, _SETTLE))

    def take_request(self, owner: str) -> None:
        """Count a request.

        Raises:
            RateLimitedError: The owner made as many as it may.
        """
        limit = self._limits.requests_per_minute
        if not owner or not limit:
            return
        with translate_redis_errors():
            wait_ms = int(self._take(keys=[f"emoclip:limits:requests:{owner}"], args=[1, limit, _MINUTE_MS]))
        if wait_ms:
            raise _retry_after(RateLimitedError(f"An API key may make {limit} requests a minute."), wait_ms)

    def admit(self, owner: str, upload_id: str, *, size_bytes: int, ttl_seconds: float) -> None:
        """Count an upload that is about to be received: a job on its way, and its bytes. Once more changes nothing.

        Args:
            owner: Whose it is.
            upload_id: Id of the job to be.
            size_bytes: What it is charged with.
            ttl_seconds: After so long it counts no more as a job on its way, unless it has become one.

        Raises:
            TooManyJobsError: The owner has as many jobs on their way as it may.
            DailyBytesError: The bytes are more than the owner may send now.
        """
        limits = self._limits
        if not owner or not (limits.open_jobs or limits.bytes_per_day):
            return
        ttl_ms = round(ttl_seconds * 1000)
        arguments: list[str | int] = [upload_id, ttl_ms, limits.open_jobs, size_bytes, limits.bytes_per_day, _DAY_MS]
        with translate_redis_errors():
            answer: Any = self._admit(keys=_upload_keys(owner), args=arguments)
        limit, wait_ms = answer
        if limit == 1:
            raise TooManyJobsError(
                f"An API key may have {limits.open_jobs} jobs queued or processing at the same time; "
                "wait until one has ended, or delete one."
            )
        if limit == 2:
            raise _retry_after(
                DailyBytesError(
                    f"An API key may send {limits.bytes_per_day:,} bytes a day, and has not {size_bytes:,} of them "
                    "left. A video sent without Content-Length counts as the largest that is accepted."
                ),
                wait_ms,
            )

    def release(self, owner: str, upload_id: str, *, refund_bytes: int) -> None:
        """Forget an upload that has not become a job, and give its bytes back."""
        self._give_back(owner, upload_id, refund_bytes, leaves=True)

    @asynccontextmanager
    async def admitted(
        self, owner: str, upload_id: str, *, size_bytes: int, ttl_seconds: float
    ) -> AsyncIterator[Admission]:
        """Count an upload while it is received; what fails inside the context counts as nothing.

        Raises:
            TooManyJobsError: The owner has as many jobs on their way as it may.
            DailyBytesError: The bytes are more than the owner may send now.
        """
        await to_thread.run_sync(lambda: self.admit(owner, upload_id, size_bytes=size_bytes, ttl_seconds=ttl_seconds))
        admission = Admission(size_bytes)
        is_received = False
        try:
            yield admission
            is_received = True
        finally:
            unused = size_bytes - admission.size_bytes if is_received else size_bytes
            with CancelScope(shield=True):
                await to_thread.run_sync(lambda: self._give_back(owner, upload_id, unused, leaves=not is_received))

    def _give_back(self, owner: str, upload_id: str, refund_bytes: int, *, leaves: bool) -> None:
        if not owner or (not leaves and (not refund_bytes or not self._limits.bytes_per_day)):
            return
        arguments: list[str | int] = [upload_id, refund_bytes, self._limits.bytes_per_day, _DAY_MS, int(leaves)]
        try:
            with translate_redis_errors():
                self._settle(keys=_upload_keys(owner), args=arguments)
        except StoreUnavailableError as error:  # the answer to the client is another matter
            logger.warning("the limits of a key were not given back: %s", error)


class RequestLimitMiddleware:
    """Counts the requests of each API key, before their bodies are read."""

    def __init__(self, app: ASGIApp, book: LimitBook) -> None:
        self._app = app
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        owner: str = scope.get("state", {}).get("owner", "")
        if scope["type"] == "http" and owner:
            try:
                await to_thread.run_sync(self._book.take_request, owner)
            except RateLimitedError as error:
                await create_problem_response(Request(scope), error)(scope, receive, send)
                return
            except StoreUnavailableError:
                pass  # what the request needs of Redis says so itself
        await self._app(scope, receive, send)


def _upload_keys(owner: str) -> list[str]:
    return [f"emoclip:open:{owner}", f"emoclip:limits:bytes:{owner}"]


def _retry_after(error: ApiError, wait_ms: float) -> ApiError:
    error.retry_seconds = max(math.ceil(wait_ms / 1000), 1)
    return error
