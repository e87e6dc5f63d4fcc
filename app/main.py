"""The API process: builds the ASGI application from settings. Run: `emoclip api`."""

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from app.acceptance import Acceptance
from app.auth import AcceptedKeys, ApiKeyMiddleware
from app.early_answers import EarlyAnswerMiddleware
from app.host_check import HostCheckMiddleware
from app.jobs import Jobs
from app.limits import KeyLimits, LimitBook, RequestLimitMiddleware
from app.live import create_live
from app.metrics import HttpMetricsMiddleware, Metrics
from app.openapi import install_openapi
from app.owner_slots import OwnerSlots
from app.problems import install_error_handlers
from app.request_ids import RequestIdMiddleware
from app.resumable import ResumableLimits, ResumableUploads
from app.routes import cancellation, docs, events, jobs, metrics, page, results, service, timeline
from app.routes import uploads as upload_routes
from app.routes.common import show_job
from app.settings import ApiSettings
from app.tus import TusMiddleware
from app.upload_errors import TooManyUploadsError
from app.uploads import UploadLimits
from app.webhook_sender import WebhookSender, read_webhook_secrets
from app.webhook_target import TargetRules
from app.webhooks import Callbacks, WebhookDeliverer, WebhookSchedule
from worker.celery_app import create_celery, ring
from worker.intake_store import IntakeStore
from worker.media import LocalMediaStore
from worker.metrics_store import MetricsStore
from worker.redis_client import create_redis_client
from worker.settings import QueueSettings
from worker.store import JobStore
from worker.webhook_store import WebhookStore
from worker.work_store import INDEX, Bell

__all__ = ["create_app"]


def create_app(settings: ApiSettings | None = None, *, queue: QueueSettings | None = None) -> FastAPI:
    """Return the application; it connects to Redis only when it is asked something.

    Args:
        settings: The API's; None reads the environment.
        queue: What the API shares with workers; None reads the environment.

    Raises:
        ValueError: A setting makes no sense.
        OSError: The file of API keys cannot be read.
    """
    settings = settings or ApiSettings()
    queue = queue or QueueSettings()
    redis_client = create_redis_client(queue)
    celery = create_celery(queue)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        delivering = asyncio.create_task(deliverer.run(), name="webhooks") if deliverer else None
        yield
        if delivering:
            delivering.cancel()
            await asyncio.wait([delivering])
        celery.close()
        redis_client.close()

    app = FastAPI(
        title="emoclip",
        summary="Video emotion analysis: probabilities of the seven basic expressions for every face in every frame.",
        version=importlib.metadata.version("emoclip"),
        lifespan=lifespan,
        docs_url=None,  # app.routes.docs
        redoc_url=None,
        # a redirected upload would need to be sent again, and curl without -L shows nothing
        redirect_slashes=False,
    )
    keys = AcceptedKeys(settings.api_keys_file)
    book = LimitBook(
        redis_client,
        KeyLimits(
            requests_per_minute=settings.max_requests_per_minute,
            open_jobs=settings.max_open_jobs,
            bytes_per_day=settings.max_bytes_per_day,
        ),
    )
    store = IntakeStore(redis_client, queue)
    uploads = LocalMediaStore(queue.media_dir, keep_free_bytes=settings.min_free_bytes)
    limits = UploadLimits(
        max_bytes=settings.max_upload_bytes,
        idle_seconds=settings.upload_idle_seconds,
        total_seconds=settings.upload_total_seconds,
    )
    slots = OwnerSlots(settings.max_uploads_at_once, error=TooManyUploadsError, can="videos can be sent")

    def ring_index(job_id: str) -> None:
        ring(celery, Bell(job_id, INDEX))

    app.state.jobs = Jobs(store, uploads)
    app.state.acceptance = Acceptance(
        app.state.jobs, store, uploads, ring=ring_index, limits=limits, slots=slots, book=book
    )
    app.state.resumable_uploads = ResumableUploads(
        app.state.jobs,
        store,
        uploads,
        ring=ring_index,
        limits=limits,
        resumable=ResumableLimits(ttl_seconds=settings.resumable_ttl_seconds, most_open=settings.max_uploads_at_once),
        slots=slots,
        book=book,
    )
    rules = TargetRules(allow_http=settings.webhook_allow_http, allowed_networks=settings.webhook_allowed_networks)
    deliverer = _create_deliverer(settings, WebhookStore(redis_client), store, rules)
    app.state.callbacks = Callbacks(rules if deliverer else None)
    app.state.live = create_live(
        store,
        max_streams_at_once=settings.max_streams_at_once,
        heartbeat_seconds=settings.stream_heartbeat_seconds,
    )
    for routes in (cancellation, events, jobs, results, service, docs, timeline, page, upload_routes, metrics):
        app.include_router(routes.router)
    app.state.metrics = Metrics(MetricsStore(redis_client, queue), count_uploads=slots.count)
    install_error_handlers(app)
    install_openapi(app)
    # the last one added sees a request first
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=1)
    app.add_middleware(RequestLimitMiddleware, book=book)
    app.add_middleware(
        ApiKeyMiddleware,
        keys=keys,
        metrics_without_key=settings.metrics_without_key,
    )
    app.add_middleware(TusMiddleware)
    if not keys.are_required:
        own_name = settings.published_host or settings.host
        app.add_middleware(HostCheckMiddleware, allowed=[*settings.allowed_hosts, own_name])
    app.add_middleware(EarlyAnswerMiddleware)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(HttpMetricsMiddleware, metrics=app.state.metrics)
    return app


def _create_deliverer(
    settings: ApiSettings, store: WebhookStore, jobs: JobStore, rules: TargetRules
) -> WebhookDeliverer | None:
    if settings.webhook_secret_file is None:
        return None
    sender = WebhookSender(
        read_webhook_secrets(settings.webhook_secret_file),
        rules,
        timeout_seconds=settings.webhook_timeout_seconds,
        user_agent=f"emoclip/{importlib.metadata.version('emoclip')}",
    )
    return WebhookDeliverer(
        store,
        jobs,
        sender,
        show=lambda snapshot: show_job(snapshot, own=f"/v1/jobs/{snapshot.record.job_id}"),
        schedule=WebhookSchedule(settings.webhook_retry_seconds),
        # the delivery, and what is done before and after it in Redis
        lease_seconds=settings.webhook_timeout_seconds + 5,
    )
