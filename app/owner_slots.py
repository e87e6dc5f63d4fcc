"""How much each owner may do at the same time in one API process: send videos, hold streams open."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import ApiError

__all__ = ["OwnerSlots"]


class OwnerSlots:
    """Counts what each owner does now; for the event loop."""

    def __init__(self, most: int, *, error: type[ApiError], can: str) -> None:
        """Give every owner the same number of slots.

        Args:
            most: Slots of one owner.
            error: What the next one is refused with.
            can: What a slot is for, as the refusal says it: "videos can be sent".
        """
        self._most = most
        self._error = error
        self._can = can
        self._held: Counter[str] = Counter()

    def count(self) -> int:
        """Return how many slots all owners together hold."""
        return self._held.total()

    @contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Hold a slot inside the context.

        Raises:
            ApiError: The owner holds as many as allowed; of the class given at first.
        """
        if self._held[owner] >= self._most:
            raise self._error(f"At most {self._most} {self._can} at the same time.")
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]
