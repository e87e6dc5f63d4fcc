"""A multipart form that holds exactly one part, the field `video`: parsed as it arrives, nothing of it is kept."""

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.file_names import clean_file_name
from app.upload_errors import MalformedUploadError, MissingVideoError

__all__ = ["VideoForm"]

_VIDEO_FIELD = "video"


class VideoForm:
    """The parser of one form."""

    def __init__(self, boundary: bytes) -> None:
        self.file_name = ""
        self._pieces: list[bytes] = []
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._has_video = False
        self._is_ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedUploadError("The boundary of the multipart form is too long.") from error

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the video's bytes in the next piece of the body."""
        self._pieces = []
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedUploadError("The body is not the multipart form that its Content-Type announces.") from error
        return self._pieces

    def check_end(self) -> None:
        """Refuse a form that was cut off, or had no video."""
        if not self._is_ended:  # the parser itself accepts a body that just stops
            raise MalformedUploadError("The multipart form ends before its closing boundary.")
        if not self._has_video:
            raise MissingVideoError("The form has no field 'video'.")

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        if name != _VIDEO_FIELD:
            raise MissingVideoError(
                f"Unexpected form field {name[:40]!r}: the form holds the video alone, as the field 'video'; "
                "options are query parameters, as in POST /v1/jobs?sample_fps=5."
            )
        if self._has_video:
            raise MissingVideoError("The form has the field 'video' twice: send one video a job.")
        self._has_video = True
        self.file_name = clean_file_name(parameters.get(b"filename", b"").decode("utf-8", "replace"))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._is_ended = True
