"""Webhooks: each end of a job that has a `callback_url` is announced there, at least once.

Deliveries run in the event loop of the API process, not as Celery tasks. In production a worker has no way out of its
network on purpose, as it decodes strangers' files (docker-compose.yml), and should not hold the signing secret either;
it analyses in one process, where a receiver that hangs would hold up videos; and Celery's countdown over Redis keeps a
message in the memory of one worker, which is no place for a retry in five hours. What Celery would bring, the record
brings: the script that ends a job makes its webhook due, in Redis; every API process looks for due ones four times a
second and claims them for longer than a delivery can take; a process that dies in between loses its claim, and the next
one sends the same message with the same `webhook-id`.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio
from anyio import to_thread

from app.errors import InvalidParameterError
from app.schemas import Job, JobEvent
from app.webhook_sender import Answer, WebhookSender
from app.webhook_target import TargetError, TargetRules, parse_webhook_url
from worker.contract import JobSnapshot, WebhookAttempt, WebhookState
from worker.store import JobStore, StoreUnavailableError
from worker.webhook_store import WebhookClaim, WebhookStore

__all__ = ["Callbacks", "WebhookDeliverer", "WebhookSchedule"]

_LOOK_SECONDS = 0.25
_AT_ONCE = 32
"""Deliveries of this process at the same time; each is a connection, not a thread."""
_LARGEST_BODY = 256 * 2**10
_JITTER = 0.2

logger = logging.getLogger(__name__)


class Callbacks:
    """Which callback_url a new job may have."""

    def __init__(self, rules: TargetRules | None) -> None:
        """Set the rules; with None webhooks are off."""
        self._rules = rules

    async def check(self, text: str | None) -> None:
        """Check a job's callback_url, before its video is received.

        Raises:
            InvalidParameterError: It is refused.
        """
        if text is None:
            return
        if self._rules is None:
            raise InvalidParameterError(
                "callback_url: webhooks are off; the operator of this service turns them on with a signing secret "
                "(EMOCLIP_WEBHOOK_SECRET_FILE)."
            )
        url = parse_webhook_url(text)
        try:
            self._rules.check_scheme(url)
            await self._rules.find_addresses(url.host, url.port)
        except TargetError as error:
            raise InvalidParameterError(f"callback_url: {error}") from error


@dataclass(frozen=True, slots=True)
class WebhookSchedule:
    """When a failed delivery is tried again."""

    pauses_seconds: Sequence[float]
    """After the first attempt, after the second, and so on."""

    @property
    def attempts(self) -> int:
        """Most attempts."""
        return len(self.pauses_seconds) + 1

    def pause_after(self, attempt: int, *, at_least_seconds: float = 0.0) -> float:
        """Return how long to wait after an attempt, counted from 1: spread, so that not all come back together."""
        pause = max(self.pauses_seconds[attempt - 1], at_least_seconds)
        return pause * random.uniform(1, 1 + _JITTER)


class WebhookDeliverer:
    """Sends what is due, until it is stopped."""

    def __init__(
        self,
        store: WebhookStore,
        jobs: JobStore,
        sender: WebhookSender,
        *,
        show: Callable[[JobSnapshot], Job],
        schedule: WebhookSchedule,
        lease_seconds: float,
    ) -> None:
        """Bind, without starting.

        Args:
            store: What is due.
            jobs: What is told of a job.
            sender: Sends one message.
            show: Makes what the API says of a job.
            schedule: When to try again.
            lease_seconds: How long a claim holds: longer than a delivery can take.
        """
        self._store = store
        self._jobs = jobs
        self._sender = sender
        self._show = show
        self._schedule = schedule
        self._lease_seconds = lease_seconds
        self._threads = anyio.CapacityLimiter(2)  # for Redis; beside the pool of the requests
        self._sending: dict[asyncio.Task[None], WebhookClaim] = {}

    async def run(self) -> None:
        """Look for due webhooks and send them; when cancelled, give back what was not sent to the end."""
        try:
            while True:
                await self._start_due()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            claims = list(self._sending.values())
            for task in self._sending:
                task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*self._sending, return_exceptions=True)
                await to_thread.run_sync(self._give_back, claims)

    async def _start_due(self) -> None:
        room = _AT_ONCE - len(self._sending)
        if not room:
            return
        try:
            claims = await to_thread.run_sync(
                lambda: self._store.claim_due(most=room, lease_seconds=self._lease_seconds), limiter=self._threads
            )
        except StoreUnavailableError as error:
            logger.warning("webhooks wait for the store: %s", error)
            return
        except Exception:  # nobody would start it again
            logger.exception("due webhooks cannot be read")
            return
        for claim in claims:
            task = asyncio.create_task(self._deliver(claim), name=f"webhook of job {claim.job_id}")
            self._sending[task] = claim
            task.add_done_callback(self._sending.pop)

    async def _deliver(self, claim: WebhookClaim) -> None:
        try:
            job = await to_thread.run_sync(self._jobs.get, claim.job_id, limiter=self._threads)
            if job is None or job.record.callback_url is None:
                return  # erased: the next claim strikes it out
            started_at, started = datetime.now(UTC), time.monotonic()
            answer = await self._send(claim, job, job.record.callback_url)
            attempt = WebhookAttempt(
                at=started_at,
                status=answer.status,
                error=answer.error,
                seconds=round(time.monotonic() - started, 3),
            )
            state, pause = self._decide(claim, answer)
            await to_thread.run_sync(
                lambda: self._store.record(claim, attempt, state=state, next_seconds=pause), limiter=self._threads
            )
            logger.info("job %s: webhook, attempt %d: %s", claim.job_id, claim.attempt, answer.error or answer.status)
        except StoreUnavailableError as error:
            logger.warning("job %s: webhook is tried again when its lease is over: %s", claim.job_id, error)
        except Exception:
            logger.exception("job %s: webhook failed unexpectedly", claim.job_id)

    async def _send(self, claim: WebhookClaim, job: JobSnapshot, callback_url: str) -> Answer:
        if claim.attempt > self._schedule.attempts:  # senders died as often as attempts are allowed
            return Answer(error="The service was stopped during every attempt.")
        return await self._sender.send(
            parse_webhook_url(callback_url),
            self._create_body(job),
            message_id=f"msg_{claim.job_id}",  # a job ends once, so it has one message
            timestamp=int(time.time()),
        )

    def _create_body(self, job: JobSnapshot) -> bytes:
        shown = self._show(job.model_copy(update={"webhook": None}))
        event = JobEvent(type=f"job.{job.state}", timestamp=job.finished_at or job.created_at, data=shown)  # type: ignore[arg-type]  # checked by pydantic
        body = event.model_dump_json().encode()
        if len(body) > _LARGEST_BODY:  # thousands of tracks
            event = event.model_copy(update={"data": shown.model_copy(update={"summary": None})})
            body = event.model_dump_json().encode()
        return body

    def _decide(self, claim: WebhookClaim, answer: Answer) -> tuple[WebhookState, float]:
        if answer.error is None:
            return WebhookState.DELIVERED, 0.0
        if answer.is_final or claim.attempt >= self._schedule.attempts:
            return WebhookState.FAILED, 0.0
        pause = self._schedule.pause_after(claim.attempt, at_least_seconds=answer.retry_after_seconds)
        return WebhookState.PENDING, pause

    def _give_back(self, claims: Sequence[WebhookClaim]) -> None:
        with contextlib.suppress(StoreUnavailableError):
            for claim in claims:
                self._store.give_back(claim)
