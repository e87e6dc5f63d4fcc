"""WebhookStore: which webhooks are due, who is sending them, and what became of each attempt.

A job's end puts its webhook into `emoclip:webhooks` in the same script that ends the job (worker.store_scripts), so
no end is forgotten. Whoever sends one holds it for a lease; a sender that dies lets it fall due again, so a message
arrives at least once. Free of torch, numpy and PyAV: the API process sends them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from worker.contract import WebhookAttempt, WebhookState
from worker.redis_client import translate_redis_errors

__all__ = ["WebhookClaim", "WebhookStore"]

_WEBHOOKS_KEY = "emoclip:webhooks"

_CLAIM = """
-- KEYS: webhooks; ARGV: lease_ms, most to claim; answers job, attempt, job, attempt, ...
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
local claimed = {}
for _, job_id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, ARGV[2])) do
  local job = 'emoclip:job:' .. job_id
  if redis.call('HGET', job, 'webhook_state') ~= 'pending' then
    redis.call('ZREM', KEYS[1], job_id)
  else
    redis.call('ZADD', KEYS[1], whole(now + tonumber(ARGV[1])), job_id)
    table.insert(claimed, job_id)
    table.insert(claimed, redis.call('HINCRBY', job, 'webhook_attempt', 1))
  end
end
return claimed
"""

_RECORD = """
-- KEYS: webhooks, job; ARGV: job id, attempt, state, line of the log, ms until the next attempt
-- What was delivered is delivered, even where the lease was lost meanwhile; nothing else counts then.
if redis.call('HGET', KEYS[2], 'webhook_state') ~= 'pending' then return 0 end
if redis.call('HGET', KEYS[2], 'webhook_attempt') ~= ARGV[2] and ARGV[3] ~= 'delivered' then return 0 end
local clock = redis.call('TIME')
local due = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[5]))
local log = redis.call('HGET', KEYS[2], 'webhook_log')
redis.call('HSET', KEYS[2], 'webhook_state', ARGV[3], 'webhook_due', due,
  'webhook_log', log and (log .. '\\n' .. ARGV[4]) or ARGV[4])
if ARGV[3] == 'pending' then redis.call('ZADD', KEYS[1], due, ARGV[1]) else redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1
"""

_GIVE_BACK = """
-- KEYS: webhooks, job; ARGV: job id, attempt
if redis.call('HGET', KEYS[2], 'webhook_state') ~= 'pending' then return 0 end
if redis.call('HGET', KEYS[2], 'webhook_attempt') ~= ARGV[2] then return 0 end
redis.call('HINCRBY', KEYS[2], 'webhook_attempt', -1)
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class WebhookClaim:
    """The right to send one webhook, until the lease is over."""

    job_id: str
    attempt: int
    """1 for the first start of a delivery; those of senders that died count as well."""


class WebhookStore:
    """Claims due webhooks and keeps their log; every method may raise StoreUnavailableError."""

    def __init__(self, client: redis.Redis) -> None:
        self._claim: Any = client.register_script(_CLAIM)  # redis-py's Script has no useful type
        self._record: Any = client.register_script(_RECORD)
        self._give_back: Any = client.register_script(_GIVE_BACK)

    def claim_due(self, *, most: int, lease_seconds: float) -> list[WebhookClaim]:
        """Return webhooks that are due; nobody else gets them before the lease is over."""
        with translate_redis_errors():
            answer: Sequence[Any] = self._claim(keys=[_WEBHOOKS_KEY], args=[round(lease_seconds * 1000), most])
        return [
            WebhookClaim(job_id=job_id.decode(), attempt=attempt)
            for job_id, attempt in zip(answer[::2], answer[1::2], strict=True)
        ]

    def record(
        self, claim: WebhookClaim, attempt: WebhookAttempt, *, state: WebhookState, next_seconds: float = 0.0
    ) -> bool:
        """Add an attempt to the job's log.

        Args:
            claim: What the attempt was made under.
            attempt: What became of it.
            state: PENDING where another one follows, DELIVERED or FAILED where it was the last.
            next_seconds: Until the next one.

        Returns:
            False where it does not count: the job is gone, or somebody else tried meanwhile.
        """
        arguments = [claim.job_id, claim.attempt, state.value, attempt.model_dump_json(), round(next_seconds * 1000)]
        with translate_redis_errors():
            return bool(self._record(keys=self._keys(claim), args=arguments))

    def give_back(self, claim: WebhookClaim) -> None:
        """Let a webhook fall due at once that was claimed and not sent to the end; the attempt does not count."""
        with translate_redis_errors():
            self._give_back(keys=self._keys(claim), args=[claim.job_id, claim.attempt])

    def _keys(self, claim: WebhookClaim) -> list[str]:
        return [_WEBHOOKS_KEY, f"emoclip:job:{claim.job_id}"]
