"""The worker: the Celery tasks, thin, and the composition root that builds what they call.

The main process takes messages, beats and sweeps; it forks one process that analyses and alone loads torch (a fork
after CUDA or a thread pool was started would be broken). SIGTERM makes that process give its segment back at once.
"""

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from celery import Celery, signals
from celery.worker import state

from worker.celery_app import ANALYZE_SEGMENT, FINISH_JOB, INDEX_JOB, SWEEP, create_celery, ring
from worker.drain import DrainFlag
from worker.forgetting import Forgetting
from worker.hang_switch import HangSwitch
from worker.media import LocalMediaStore
from worker.redis_client import StoreUnavailableError, create_redis_client
from worker.safe_decoder import UnsafeDecoderError, require_safe_decoder
from worker.settings import QueueSettings, WorkerSettings
from worker.sweeper import Sweeper
from worker.upkeep import Upkeep
from worker.watchdog import Watchdog
from worker.work_store import WorkStore

if TYPE_CHECKING:
    from worker.steps import JobSteps

__all__ = ["create_worker", "run_worker"]

_RESTART_RETRIES = 40
"""Of a command while Redis is away, half a second apart at most: 20 s, enough for its restart."""
_PR_SET_PDEATHSIG = 1

logger = logging.getLogger(__name__)


def run_worker() -> int:
    """Run one worker with the settings of the environment until it is told to stop; returns the exit status."""
    try:
        require_safe_decoder()
    except UnsafeDecoderError as error:
        raise SystemExit(str(error)) from error
    app = create_worker(QueueSettings(), WorkerSettings())
    for noisy in ("celery.worker.strategy", "celery.app.trace"):  # two lines a task that say less than ours
        logging.getLogger(noisy).setLevel(logging.WARNING)
    worker = app.Worker(
        hostname=f"emoclip-{os.getpid()}@{socket.gethostname()}",
        loglevel="INFO",
        quiet=True,
        # what workers tell each other: the store's heartbeat says all that is needed
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return worker.exitcode or 0


def create_worker(queue: QueueSettings, settings: WorkerSettings) -> Celery:
    """Return the application with its tasks and its upkeep, which starts with the worker."""
    app = create_celery(queue)
    drain = DrainFlag()
    media = LocalMediaStore(queue.media_dir)
    hang_switch = HangSwitch(settings.stall_seconds)
    _register_tasks(app, queue, settings, media, drain, hang_switch)
    _register_upkeep(app, queue, media, drain, hang_switch)
    return app


def _register_tasks(
    app: Celery,
    queue: QueueSettings,
    settings: WorkerSettings,
    media: LocalMediaStore,
    drain: DrainFlag,
    hang_switch: HangSwitch,
) -> None:
    building = threading.Lock()
    loaded = threading.Event()

    @cache
    def build_steps() -> "JobSteps":
        # imported, and the connection made, in the process that analyses, after the fork
        from worker.decoder_start import keep_spare
        from worker.steps import JobSteps

        keep_spare()
        store = WorkStore(create_redis_client(queue, retries=_RESTART_RETRIES), queue)
        return JobSteps(
            store,
            media,
            settings,
            ring=lambda bell: ring(app, bell),
            is_draining=drain.is_set,
            on_sign=hang_switch.put_off,
        )

    def get_steps() -> "JobSteps":
        with building:
            return build_steps()

    def load() -> None:
        try:
            version = get_steps().load().version
        except Exception:
            logger.exception("the networks cannot be loaded: every job of this worker will fail")
        else:
            logger.info("loaded %s %s and %s", version.name, version.sha256[:12], version.detector)
        loaded.set()

    def load_ahead(**_: object) -> None:
        # while no job waits; in a thread, because Celery kills a process that is not up within four seconds
        threading.Thread(target=load, name="load", daemon=True).start()

    signals.worker_process_init.connect(load_ahead, weak=False)

    def run(step: Callable[["JobSteps"], None]) -> None:
        try:
            with hang_switch.armed(first_seconds=None if loaded.is_set() else settings.load_seconds):
                step(get_steps())
        except StoreUnavailableError as error:
            logger.warning("left to the sweeper: %s", error)
        except MemoryError:  # past this border it would take the main process down as well
            logger.error("not enough memory for a task")

    @app.task(name=INDEX_JOB)
    def index_job(job_id: str) -> None:
        run(lambda steps: steps.index_job(job_id))

    @app.task(name=ANALYZE_SEGMENT)
    def analyze_segment(job_id: str, segment: int) -> None:
        run(lambda steps: steps.analyze_segment(job_id, segment))

    @app.task(name=FINISH_JOB)
    def finish_job(job_id: str) -> None:
        run(lambda steps: steps.finish_job(job_id))

    @app.task(name=SWEEP)
    def sweep() -> None:
        _create_sweeper(app, queue, media).sweep()


def _register_upkeep(
    app: Celery, queue: QueueSettings, media: LocalMediaStore, drain: DrainFlag, hang_switch: HangSwitch
) -> None:
    running: list[Upkeep] = []

    def start(**_: object) -> None:
        store = WorkStore(create_redis_client(queue), queue)
        sweeper = _create_sweeper(app, queue, media)
        worker = f"{socket.gethostname()}-{os.getpid()}"
        forgetting = Forgetting(create_redis_client(queue))
        watchdog = Watchdog(
            # one that this worker has taken already waits, too, until the process that analyses begins it
            count_waiting=lambda: store.count_messages() + len(state.reserved_requests) - len(state.active_requests),
            count_taken=lambda: state.all_total_count[0],
            is_working=lambda: bool(state.active_requests),
            patience_seconds=queue.deaf_seconds,
            # no orderly end: what would have to end in order is what does not move any more
            end_process=lambda: os._exit(1),
        )

        def watch() -> None:
            hang_switch.look()
            watchdog.look()

        running.append(Upkeep(store, queue, worker=worker, sweep=sweeper.sweep, forget=forgetting.forget, watch=watch))
        running[0].start()

    def stop(**_: object) -> None:
        for upkeep in running:
            upkeep.stop()

    # signals hold their receivers weakly unless told otherwise
    signals.worker_ready.connect(start, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)
    signals.worker_shutting_down.connect(lambda **_: drain.set(), weak=False)
    signals.worker_process_init.connect(lambda **_: _die_with_parent(), weak=False)


def _create_sweeper(app: Celery, queue: QueueSettings, media: LocalMediaStore) -> Sweeper:
    store = WorkStore(create_redis_client(queue), queue)
    return Sweeper(store, media, ring=lambda bell: ring(app, bell))


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the main one dies: left over, it would compete with its successor."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run_worker())
