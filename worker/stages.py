"""Overlapped stages with bounded room between them: iterators that work ahead of whoever reads them.

What is started here ends when the reader ends, for whatever reason: closing the generator stops the stage within one
item and joins its threads; an exception inside a stage comes out where its result would have.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHECK_SECONDS = 0.25
"""How often a reader that waits for a slow stage looks whether it should stop."""

Create = Callable[[Callable[[], bool]], Generator[T, None, None]]
"""Makes a stage's generator, given a function that says whether to stop."""


class _Belt(Generic[T]):
    """A bounded queue with an end: between the one thread that puts and the one that gets."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self._failure: BaseException | None = None

    def put(self, item: T) -> bool:
        """Add an item as soon as there is room; False if nobody will read it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def end(self, failure: BaseException | None) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be read."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def is_closed(self) -> bool:
        return self._closed

    def iter_items(self, check: Callable[[], None]) -> Iterator[T]:
        """Yield the items until the end, then raise what ended them, if anything; `check` is called while waiting."""
        while True:
            with self._changed:
                while not (self._items or self._ended):
                    if not self._changed.wait(CHECK_SECONDS):
                        check()
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self._failure is not None:
            raise self._failure


def iter_ahead(create: Create[T], *, capacity: int, check: Callable[[], None]) -> Generator[T, None, None]:
    """Run a generator in a thread of its own, at most `capacity` items ahead of the reader."""
    belt: _Belt[T] = _Belt(capacity)

    def work() -> None:
        failure: BaseException | None = None
        try:
            with closing(create(belt.is_closed)) as items:
                for item in items:
                    if not belt.put(item):
                        break
        except BaseException as error:  # noqa: BLE001  # nothing is swallowed: the reader raises it
            failure = error
        belt.end(failure)

    thread = threading.Thread(target=work, name="decode-ahead", daemon=True)
    thread.start()
    try:
        yield from belt.iter_items(check)
    finally:
        belt.close()
        thread.join()


def iter_mapped(
    function: Callable[[T], R], items: Iterator[T], *, executor: Executor, ahead: int
) -> Generator[R, None, None]:
    """Apply a function in an executor's threads, at most `ahead` items at once; the results keep the order."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
