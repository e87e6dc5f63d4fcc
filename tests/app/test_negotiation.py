"""Content negotiation: quality values, ranges, ties, nonsense."""

import pytest

from app.negotiation import choose_media_type

OFFERS = ["application/json", "text/csv", "text/vtt"]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("TEXT/CSV; header=present", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv;q=0.5, text/vtt;q=0.8", "text/vtt"),
        ("text/csv;q=0.5, */*;q=0.1", "text/csv"),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", "application/json"),
        ("application/json;q=0, */*", "text/csv"),
        ("text/csv;q=0, text/*", "text/vtt"),
        ("text/vtt, */*", "text/vtt"),
        ("text/csv, application/json", "application/json"),
        ("text/csv;q=loud, text/vtt;q=0.1", "text/vtt"),
        ("text/csv;q=2, text/vtt", "text/vtt"),
        (",, ;q=1, csv, */csv, text/vtt", "text/vtt"),
        ("image/png", None),
        ("*/*;q=0", None),
        ("csv", None),
    ],
)
def test_choose_media_type(accept: str | None, chosen: str | None) -> None:
    assert choose_media_type(accept, OFFERS) == chosen
