"""Content negotiation: which of our media types suits an `Accept` header best (RFC 9110, 12.5.1).

Quality values decide; where they are equal, the range that names a type more exactly, then our own order. Parameters of
media types are not compared. What cannot be parsed is passed over, as if it were not there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["choose_media_type"]


@dataclass(frozen=True, slots=True)
class _Range:
    """One element of the header: `text/csv;q=0.5`, `text/*`, `*/*`."""

    type: str
    subtype: str
    quality: float

    @property
    def exactness(self) -> int:
        return (self.type != "*") + (self.subtype != "*")

    def includes(self, media_type: str) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.type in ("*", kind) and self.subtype in ("*", subtype)


def choose_media_type(accept: str | None, offers: Iterable[str]) -> str | None:
    """Return the offer that a client wants most, the first one if it does not say; None if it wants none of them."""
    offered = list(offers)
    if not accept or not accept.strip():
        return offered[0]
    ranges = [parsed for element in accept.split(",") if (parsed := _parse(element)) is not None]
    ranked: list[tuple[float, int, int, str]] = []
    for place, media_type in enumerate(offered):
        # the most exact range speaks for a type: `text/csv;q=0, text/*` refuses CSV
        best = max((r for r in ranges if r.includes(media_type)), key=lambda r: r.exactness, default=None)
        if best is not None and best.quality > 0:
            ranked.append((best.quality, best.exactness, -place, media_type))
    return max(ranked)[-1] if ranked else None


def _parse(element: str) -> _Range | None:
    media_range, *parameters = (part.strip().lower() for part in element.split(";"))
    kind, slash, subtype = media_range.partition("/")
    if not (kind and slash and subtype) or (kind == "*" and subtype != "*"):
        return None
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            if not 0 <= quality <= 1:
                return None
    return _Range(kind, subtype, quality)
