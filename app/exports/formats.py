"""Every format of a result: its name in `?format=`, its media types, and what writes it."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from app.exports.captions import CaptionOptions, iter_srt, iter_vtt
from app.exports.csv import iter_csv
from app.exports.head import ResultHead
from app.exports.json import iter_head_json, iter_json
from app.exports.ndjson import iter_ndjson
from app.exports.parquet import iter_parquet
from worker.contract import FrameRow

__all__ = ["CAPTIONS", "MEDIA_TYPES", "OFFERS", "ExportFormat", "iter_export"]


class ExportFormat(StrEnum):
    """Names in `?format=`; but for `provenance`, also the suffixes of files."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    VTT = "vtt"
    SRT = "srt"
    PROVENANCE = "provenance"

    @property
    def suffix(self) -> str:
        """End of a file's name."""
        return "provenance.json" if self is ExportFormat.PROVENANCE else self.value


CAPTIONS = frozenset({ExportFormat.VTT, ExportFormat.SRT})

MEDIA_TYPES: Mapping[ExportFormat, str] = {
    ExportFormat.JSON: "application/json",
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
    ExportFormat.VTT: "text/vtt; charset=utf-8",
    ExportFormat.SRT: "application/x-subrip; charset=utf-8",
    ExportFormat.PROVENANCE: "application/json",
}

OFFERS: Mapping[str, ExportFormat] = {
    # in the order of our preference, for clients that have none
    "application/json": ExportFormat.JSON,
    "application/x-ndjson": ExportFormat.NDJSON,
    "text/csv": ExportFormat.CSV,
    "application/vnd.apache.parquet": ExportFormat.PARQUET,
    "text/vtt": ExportFormat.VTT,
    "application/x-subrip": ExportFormat.SRT,
    # other names in use for the same
    "application/ndjson": ExportFormat.NDJSON,
    "application/jsonl": ExportFormat.NDJSON,
    "application/x-parquet": ExportFormat.PARQUET,
    "text/srt": ExportFormat.SRT,
}
"""Media types that `Accept` may ask for."""


def iter_export(
    export_format: ExportFormat, head: ResultHead, rows: Iterable[FrameRow], *, captions: CaptionOptions
) -> Iterator[bytes]:
    """Yield a result in one of the formats, a piece at a time."""
    match export_format:
        case ExportFormat.JSON:
            return iter_json(head, rows)
        case ExportFormat.NDJSON:
            return iter_ndjson(head, rows)
        case ExportFormat.CSV:
            return iter_csv(rows)
        case ExportFormat.PARQUET:
            return iter_parquet(head, rows)
        case ExportFormat.VTT:
            return iter_vtt(head, rows, captions)
        case ExportFormat.SRT:
            return iter_srt(rows, captions)
        case ExportFormat.PROVENANCE:
            return iter_head_json(head)
