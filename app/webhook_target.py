"""Where a webhook may go: addresses that the whole internet can reach, and no other, whatever its URL looks like.

A client chooses the URL and the service opens the connection, from inside its own network. So the URL is read by one
parser (WHATWG's, in pydantic), which turns every way to write an address (decimal, octal, hexadecimal, full-width
digits) into one; its name is resolved once for each connection; every address found is checked; and the connection is
made to an address that was checked, so that a name which changes its mind in between (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import Url

__all__ = [
    "MAX_URL",
    "Address",
    "Network",
    "Resolve",
    "TargetError",
    "TargetRules",
    "WebhookUrl",
    "clean_webhook_url",
    "is_public",
    "parse_webhook_url",
]

MAX_URL = 2000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[tuple[Any, ...]]]]
"""As loop.getaddrinfo: the last entry of each answer begins with the address."""

_RESOLVE_SECONDS = 5.0
_PORTS = {"https": 443, "http": 80}

# Python's is_global leaves out what is private, shared, local or documentation; these are left over
_REFUSED_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments (RFC 6890), metadata services among them
        "192.88.99.0/24",  # relays from IPv6 to IPv4 (RFC 7526)
        "224.0.0.0/4",  # multicast
        "168.63.129.16/32",  # Azure's service for virtual machines, at an address like any other
    )
)
_GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")
"""The only part from which addresses for one receiver are given out (RFC 4291)."""
_REFUSED_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them: IPv4 addresses inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: IPv4 addresses inside
        "3fff::/20",  # documentation
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class TargetError(Exception):
    """A webhook may not go there, or there is nothing there; the message says why."""


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """A URL in the one form that is stored, checked and connected to."""

    scheme: str
    host: str
    """Name in ASCII, or address; IPv6 without brackets."""
    port: int
    target: str
    """Path and query."""

    @property
    def origin(self) -> str:
        """Scheme, host and port: what may be shown, as path and query may hold secrets."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return self.origin + self.target


def parse_webhook_url(text: str) -> WebhookUrl:
    """Read a URL.

    Raises:
        ValueError: It is none that a webhook could go to.
    """
    if len(text) > MAX_URL or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError(
            f"expected a URL of at most {MAX_URL} characters, without blanks, such as https://example.com/done"
        )
    try:
        url = Url(text)
    except ValidationError as error:
        raise ValueError("expected a URL such as https://example.com/done") from error
    if url.scheme not in _PORTS or not url.host or not url.port:
        raise ValueError("expected a URL that starts with https://")
    if url.username or url.password:
        raise ValueError("expected a URL without user name and password")
    if url.fragment is not None:
        raise ValueError("expected a URL without a fragment (#)")
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    found = WebhookUrl(url.scheme, url.host.removeprefix("[").removesuffix("]"), url.port, target)
    if len(str(found)) > MAX_URL:  # what is not ASCII has become longer
        raise ValueError(f"expected a URL of at most {MAX_URL} characters, percent-encoded")
    return found


def clean_webhook_url(text: str) -> str:
    """Return a URL in its one form.

    Raises:
        ValueError: It is none that a webhook could go to.
    """
    return str(parse_webhook_url(text))


class TargetRules:
    """What is allowed beside https to public addresses."""

    def __init__(
        self, *, allow_http: bool = False, allowed_networks: Iterable[Network] = (), resolve: Resolve | None = None
    ) -> None:
        """Set the rules.

        Args:
            allow_http: Whether messages may travel unencrypted.
            allowed_networks: Networks that may be reached although they are not public.
            resolve: How names are resolved; by the system where it is None.
        """
        self._allow_http = allow_http
        self._allowed_networks = tuple(allowed_networks)
        self._resolve = resolve or _resolve_by_system

    def check_scheme(self, url: WebhookUrl) -> None:
        """Check that messages may travel by this protocol.

        Raises:
            TargetError: They may not.
        """
        if url.scheme != "https" and not self._allow_http:
            raise TargetError("A webhook goes to an https URL.")

    async def find_addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, all of which may be connected to.

        Raises:
            TargetError: It has none, or one that may not be reached: which of the two is not told, as it would tell
                strangers which names exist in the network that the service runs in.
        """
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                answers = await self._resolve(host, port)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise TargetError("The host has no public address.") from error
        found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        if not found or not all(self._is_allowed(ipaddress.ip_address(address)) for address in found):
            raise TargetError("The host has no public address.")
        return found

    def _is_allowed(self, address: Address) -> bool:
        inner = _unwrap(address)
        # `in` is False where the versions differ
        return is_public(inner) or any(inner in network for network in self._allowed_networks)


def is_public(address: Address) -> bool:
    """Return whether an address belongs to one receiver that the whole internet can reach."""
    address = _unwrap(address)
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _REFUSED_IPV4)
    return (
        address.scope_id is None
        and address in _GLOBAL_IPV6
        and not any(address in network for network in _REFUSED_IPV6)
    )


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address only stands for: it is where the connection would go."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


async def _resolve_by_system(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
