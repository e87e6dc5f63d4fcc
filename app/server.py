"""ApiServer: uvicorn that lets open streams and long polls end before it waits for open answers to end."""

import socket
from collections.abc import Callable

import uvicorn

__all__ = ["ApiServer"]


class ApiServer(uvicorn.Server):
    """Serves the application of app.main.

    uvicorn tells an application of its end only when all answers are complete; a stream, which ends when its job does,
    would hold it up until the time for a graceful end is over.
    """

    def __init__(self, config: uvicorn.Config, *, before_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_stop = before_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End gracefully."""
        self._before_stop()
        await super().shutdown(sockets)
