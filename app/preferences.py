"""The Prefer header (RFC 7240), of which the service knows `wait`: how long a client would wait for a better answer."""

from collections.abc import Iterable
from urllib.request import parse_http_list

__all__ = ["LONGEST_WAIT_SECONDS", "parse_wait"]

LONGEST_WAIT_SECONDS = 50
"""Proxies commonly give an answer up after a minute."""


def parse_wait(values: Iterable[str]) -> int:
    """Return how many seconds a request may wait: at most LONGEST_WAIT_SECONDS, 0 without a preference.

    Args:
        values: Values of the Prefer headers. As the RFC asks, what is not understood is ignored.
    """
    for preference in parse_http_list(", ".join(values)):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":  # the first one counts
            digits = value.strip().strip('"')
            if not (digits.isascii() and digits.isdecimal()):
                return 0
            return min(int(digits[:9]), LONGEST_WAIT_SECONDS)
    return 0
