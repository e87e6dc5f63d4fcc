"""As which host a service without API keys answers, and pages of which host: its own machine's, and those it is told.

A web page from anywhere can let its own name resolve to 127.0.0.1 once it is loaded (DNS rebinding). The visitor's
browser then takes the service on the visitor's machine for the page's own origin and lets the page read everything.
What gives such a request away is its Host header, which no page can change; Jupyter and Ollama refuse it likewise.
Without that trick a page reads nothing, but could still send forms: browsers name it in the Origin header then.
(Starlette's TrustedHostMiddleware knows addresses only letter by letter, and answers in plain text.)
"""

import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import HostRefusedError
from app.problems import create_problem_response

__all__ = ["HostCheckMiddleware"]

_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::\d*)?")
"""A name or an address, IPv6 in brackets, and perhaps a port."""
_SHOWN_CHARACTERS = 100


class HostCheckMiddleware:
    """Lets requests pass that name this machine, by a loopback address or name, or a host that is allowed."""

    def __init__(self, app: ASGIApp, *, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.lower() for host in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            hosts = headers.getlist("host")
            named = hosts if len(hosts) == 1 else [""]  # of several none is believed
            named += [origin.partition("://")[2] for origin in headers.getlist("origin")]
            for host in map(_read_host, named):
                if not (host in self._allowed or _is_this_machine(host)):
                    await create_problem_response(Request(scope), _create_error(host))(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _create_error(host: str) -> HostRefusedError:
    return HostRefusedError(
        "Without API keys this service answers only as localhost or 127.0.0.1, and to pages from there, not as or to "
        f"{host[:_SHOWN_CHARACTERS]!r}. A name under which a proxy serves it belongs in EMOCLIP_ALLOWED_HOSTS."
    )


def _read_host(named: str) -> str:
    """Return the host without its port, empty where it is malformed."""
    match = _HOST.fullmatch(named)
    return match[1].strip("[]").removesuffix(".").lower() if match else ""


def _is_this_machine(host: str) -> bool:
    """Whether it is a name or an address of this machine by itself: nothing is looked up, names may be made to lie."""
    if host == "localhost" or host.endswith(".localhost"):  # nobody can own a name in it (RFC 6761)
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
