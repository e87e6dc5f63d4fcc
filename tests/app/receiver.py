"""A receiver of webhooks, over HTTPS with a certificate of its own authority, that answers as it is told."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


@dataclass(frozen=True)
class Message:
    """What arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """What a receiver saw, and how it answers."""

    url: str = ""
    messages: list[Message] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Answers to the next messages; 204 when there is none left."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer that is no success."""
    delay: Callable[[], object] = lambda: None
    """Called before each answer."""


@contextlib.contextmanager
def run_receiver(authority: trustme.CA | None, *, name: str = "localhost") -> Iterator[Receiver]:
    """Run a receiver on 127.0.0.1; without an authority it speaks plain HTTP."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.messages.append(Message(self.path, dict(self.headers.items()), body))
            receiver.delay()
            status = receiver.statuses.pop(0) if receiver.statuses else 204
            with contextlib.suppress(OSError):  # the sender may be gone
                self.send_response(status)
                for header, value in receiver.headers.items() if status >= 300 else ():
                    self.send_header(header, value)
                self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.url = f"{'http' if authority is None else 'https'}://localhost:{server.server_port}/done?token=private"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_secrets(file: Path, *secrets: str) -> Path:
    """Write a file of signing secrets."""
    file.write_text("".join(f"{secret}\n" for secret in secrets))
    return file
