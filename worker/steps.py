"""The steps of a job: index, analyse a segment, finish. Each claims, works under its lease, and hands over.

Whatever goes wrong inside a step ends at its border, in one of five ways: the video's fault fails the job with a code
and a sentence; an end of the process or a lack of memory gives the lease back, so that somebody starts again; a lost
lease drops the work; a silent Redis leaves the lease to expire; anything else is a bug, logged in full, and the client
reads `internal_error`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.assembly import create_analyzer, create_limits
from worker.contract import (
    ErrorCode,
    FrameRow,
    JobFailure,
    JobOptions,
    JobSnapshot,
    SegmentPlan,
    SegmentRows,
    StitchState,
    VideoFacts,
)
from worker.errors import (
    AnalysisError,
    DecoderCrashedError,
    IndexMismatchError,
    JobCanceledError,
    UndecodableError,
    UploadMissingError,
)
from worker.index import fallback_plan, index_video, plan_segments
from worker.lease_keeper import LeaseKeeper
from worker.media import MediaStore
from worker.pipeline import Analyzer
from worker.redis_client import StoreUnavailableError
from worker.settings import WorkerSettings
from worker.stage_clock import SegmentWork, StageClock
from worker.summary import summarise
from worker.tracking import stitch
from worker.work_store import FINISH, Bell, Lease, Put, WorkStore

__all__ = ["JobSteps"]

_INTERNAL_ERROR = JobFailure(
    code=ErrorCode.INTERNAL_ERROR,
    message="The analysis failed for a reason inside the service; its operator can see why.",
)

logger = logging.getLogger(__name__)


class JobSteps:
    """What one worker process does; loads its networks once and keeps them."""

    def __init__(
        self,
        store: WorkStore,
        media: MediaStore,
        settings: WorkerSettings,
        *,
        ring: Callable[[Bell], object],
        is_draining: Callable[[], bool],
        on_sign: Callable[[], object] = lambda: None,
    ) -> None:
        """Bind, without loading anything.

        Args:
            store: The jobs.
            media: The uploads.
            settings: How to analyse.
            ring: Sends the message of a step that is due.
            is_draining: Whether this process was told to end; the running step then stops within a batch.
            on_sign: Called again and again while a step makes progress.
        """
        self._store = store
        self._media = media
        self._settings = settings
        self._ring = ring
        self._is_draining = is_draining
        self._on_sign = on_sign
        self._limits = create_limits(settings)
        self._loading = threading.Lock()
        self._analyzer: Analyzer | None = None

    def load(self) -> Analyzer:
        """Return the loaded networks; the first call takes seconds, and a second thread waits for it."""
        with self._loading:
            if self._analyzer is None:
                self._analyzer = create_analyzer(self._settings)
            return self._analyzer

    def index_job(self, job_id: str) -> None:
        """Read the times of all frames and cut the video into segments."""
        lease = self._store.claim_index(job_id)
        if lease is None:
            return
        logger.info("job %s: start", job_id)
        with self._work(lease) as keeper:
            job = self._get_job(job_id)
            options = job.record.options
            index = index_video(
                self._find_upload(job_id),
                sample_fps=options.sample_fps,
                limits=self._limits,
                should_stop=keeper.should_stop,
                on_sign=self._on_sign,
            )
            plans = plan_segments(index, segment_frames=self._settings.segment_frames)
            self._hand_over(lease, index.facts(), plans)

    def analyze_segment(self, job_id: str, segment: int) -> None:
        """Analyse one segment and make the rows readable that it completes."""
        lease = self._store.claim_segment(job_id, segment)
        if lease is None:
            return
        put = Put.REFUSED
        with self._work(lease) as keeper:
            job, plan = self._get_job(job_id), self._store.get_plan(lease)
            if plan is None:
                raise JobCanceledError("the job is gone")
            try:
                rows, work = self._analyse(job_id, plan, job.record.options, keeper)
            except IndexMismatchError as error:
                logger.warning("job %s: one decoding pass instead of segments: %s", job_id, error)
                assert job.video is not None, "put_plans writes it with the plans"
                self._hand_over(lease, job.video, [fallback_plan()])
                return
            put = self._store.put_segment(lease, rows, model=self.load().version, work=work)
            logger.info("job %s: analysed segment %d, %d frames, %s", job_id, segment, len(rows.rows), put.name.lower())
        if put is Put.LAST:
            self._ring(Bell(job_id, FINISH))
        elif put is Put.STORED:
            self._store.advance_stitching(job_id, self._stitch)

    def finish_job(self, job_id: str) -> None:
        """Stitch what is left, sum up, erase the upload and end the job."""
        lease = self._store.claim_finish(job_id)
        if lease is None:
            return
        with self._work(lease):
            if not self._store.advance_stitching(job_id, self._stitch):
                raise JobCanceledError("the job has ended")
            job = self._get_job(job_id)
            if job.rows_ready == 0:
                raise UndecodableError("Not one frame of the video can be decoded: it is empty or damaged.")
            summary = summarise(self._iter_rows(job_id))
            assert job.video is not None, "put_plans writes it with the plans"
            video = job.video.counted(job.rows_ready, job.record.options)
            if self._store.succeed(lease, summary, video=video):
                self._erase(job_id)
                faces = sum(track.frames for track in summary)
                rate = job.progress.frames_per_second or 1.0
                logger.info(
                    "job %s: succeeded, %d frames, %d faces, %.1f seconds",
                    job_id,
                    job.rows_ready,
                    faces,
                    job.progress.frames_done / rate,
                )

    def _analyse(
        self, job_id: str, plan: SegmentPlan, options: JobOptions, keeper: LeaseKeeper
    ) -> tuple[SegmentRows, SegmentWork]:
        analyzer = self.load()
        clock = StageClock()
        rows = analyzer.analyse_segment(
            self._find_upload(job_id),
            plan,
            options,
            self._limits,
            on_progress=keeper.report,
            should_stop=keeper.should_stop,
            on_sign=self._on_sign,
            clock=clock,
        )
        return rows, clock.read()

    def _stitch(self, state: StitchState, segment: SegmentRows) -> tuple[SegmentRows, StitchState]:
        self._on_sign()
        return stitch(state, segment)

    def _iter_rows(self, job_id: str) -> Iterator[FrameRow]:
        for row in self._store.iter_rows(job_id):
            self._on_sign()
            yield row

    def _hand_over(self, lease: Lease, video: VideoFacts, plans: list[SegmentPlan]) -> None:
        if self._store.put_plans(lease, video, plans):
            for plan in plans:
                self._ring(Bell(lease.job_id, str(plan.segment)))

    def _get_job(self, job_id: str) -> JobSnapshot:
        job = self._store.get(job_id)
        if job is None:
            raise JobCanceledError("the job is gone")
        return job

    def _find_upload(self, job_id: str) -> Path:
        try:
            return self._media.path(job_id)
        except FileNotFoundError as error:
            raise UploadMissingError("The uploaded video is not there any more; please upload it again.") from error

    def _erase(self, job_id: str) -> None:
        self._media.delete(job_id)
        self._store.confirm_erased(job_id)

    @contextmanager
    def _work(self, lease: Lease) -> Iterator[LeaseKeeper]:
        """Keep the lease inside this context, and turn every way to leave it early into what the job needs."""
        keeper = LeaseKeeper(self._store, lease, is_draining=self._is_draining)
        try:
            with keeper:
                yield keeper
        except AnalysisError as error:
            if isinstance(error, DecoderCrashedError) and error.was_killed:
                self._give_back(lease, counted=True)
            else:
                self._fail(lease, error.to_failure())
        except JobCanceledError:
            if keeper.is_lost:
                logger.info("job %s: %s dropped, it is not ours any more", lease.job_id, lease.unit)
            else:
                self._give_back(lease, counted=False)
        except MemoryError:
            logger.error("job %s: not enough memory for %s", lease.job_id, lease.unit)
            self._give_back(lease, counted=True)
        except StoreUnavailableError:
            raise
        except Exception:
            logger.exception("job %s: %s failed unexpectedly", lease.job_id, lease.unit)
            self._fail(lease, _INTERNAL_ERROR)
        except BaseException:  # the process is being ended from outside
            self._give_back(lease, counted=False)
            raise

    def _fail(self, lease: Lease, failure: JobFailure) -> None:
        if self._store.fail(lease, failure):
            logger.info("job %s: failed, %s", lease.job_id, failure.code)
            self._erase(lease.job_id)

    def _give_back(self, lease: Lease, *, counted: bool) -> None:
        if self._store.release(lease, counted=counted):
            self._ring(Bell(lease.job_id, lease.unit))
