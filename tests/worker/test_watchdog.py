"""The watchdog's judgement: which worker is ended, and which is left alone."""

import pytest

from worker.redis_client import StoreUnavailableError
from worker.watchdog import Watchdog


class Worker:
    """The facts that a watchdog looks at."""

    def __init__(self, *, patience_seconds: float = 0.0) -> None:
        self.waiting = 1
        self.taken = 0
        self.is_working = False
        self.ends = 0
        self.watchdog = Watchdog(
            count_waiting=lambda: self.waiting,
            count_taken=lambda: self.taken,
            is_working=lambda: self.is_working,
            patience_seconds=patience_seconds,
            end_process=self.end,
        )

    def end(self) -> None:
        self.ends += 1


def test_worker_that_takes_nothing_is_ended() -> None:
    worker = Worker()
    worker.watchdog.look()
    worker.watchdog.look()
    assert worker.ends


def test_worker_has_time_to_take_a_message() -> None:
    worker = Worker(patience_seconds=3600)
    worker.watchdog.look()
    worker.watchdog.look()
    assert not worker.ends


def test_worker_without_messages_may_idle() -> None:
    worker = Worker()
    worker.waiting = 0
    worker.watchdog.look()
    worker.watchdog.look()
    assert not worker.ends


def test_worker_at_work_is_left_alone() -> None:
    worker = Worker()
    worker.is_working = True
    worker.watchdog.look()
    worker.watchdog.look()
    assert not worker.ends


def test_worker_that_took_a_message_meanwhile_is_left_alone() -> None:
    worker = Worker()
    for taken in range(1, 5):
        worker.taken = taken
        worker.watchdog.look()
    assert not worker.ends


def test_silent_redis_is_no_fault_of_the_worker() -> None:
    worker = Worker(patience_seconds=3600)

    def fail() -> int:
        raise StoreUnavailableError("away")

    watchdog = Watchdog(
        count_waiting=fail,
        count_taken=lambda: 0,
        is_working=lambda: False,
        patience_seconds=0,
        end_process=worker.end,
    )
    with pytest.raises(StoreUnavailableError):
        watchdog.look()
    assert not worker.ends
