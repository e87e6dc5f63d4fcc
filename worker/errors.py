"""Every failure of an analysis that is an outcome of the job rather than a bug.

    AnalysisError                      ErrorCode
    ├── UnsupportedMediaError          unsupported_media
    ├── NoVideoStreamError             no_video_stream
    ├── UndecodableError               undecodable
    ├── TooLongError                   too_long
    ├── TooManyPixelsError             too_many_pixels
    ├── DecodeTimeoutError             decode_timeout
    ├── DecoderCrashedError            decoder_crashed
    ├── UploadMissingError             upload_missing
    └── PoisonError                    poison
    JobCanceledError                   none: the job ends `canceled`, not `failed`
    IndexMismatchError                 none: the caller falls back to one decoding pass

Each leaf has one ErrorCode and no code has two leaves; `internal_error` belongs to none, it stands for every other
exception. The message of an AnalysisError is one sentence for the client: what is wrong with the
video and what to do about it.
"""

from typing import ClassVar

from worker.contract import ErrorCode, JobFailure


class AnalysisError(Exception):
    """The video cannot be analysed; the job ends `failed` with this code and message."""

    code: ClassVar[ErrorCode]

    def to_failure(self) -> JobFailure:
        """Return what the job record keeps of this error."""
        return JobFailure(code=self.code, message=str(self))


class UnsupportedMediaError(AnalysisError):
    """Not a container or codec that the service accepts."""

    code = ErrorCode.UNSUPPORTED_MEDIA


class NoVideoStreamError(AnalysisError):
    """A readable file without moving pictures."""

    code = ErrorCode.NO_VIDEO_STREAM


class UndecodableError(AnalysisError):
    """A video of an accepted kind of which not one frame can be decoded."""

    code = ErrorCode.UNDECODABLE


class TooLongError(AnalysisError):
    """More seconds or frames than the service accepts."""

    code = ErrorCode.TOO_LONG


class TooManyPixelsError(AnalysisError):
    """Frames larger than the service accepts."""

    code = ErrorCode.TOO_MANY_PIXELS


class DecodeTimeoutError(AnalysisError):
    """Decoding used up its wall-clock or processor time."""

    code = ErrorCode.DECODE_TIMEOUT


class DecoderCrashedError(AnalysisError):
    """The decoding process died."""

    code = ErrorCode.DECODER_CRASHED
    was_killed = False
    """By SIGKILL, which comes from outside, such as a kernel short of memory: worth another start."""


class UploadMissingError(AnalysisError):
    """The uploaded file is not there any more."""

    code = ErrorCode.UPLOAD_MISSING


class PoisonError(AnalysisError):
    """Work on the video ended without a result as often as is allowed."""

    code = ErrorCode.POISON


class JobCanceledError(Exception):
    """The job was canceled while it was being worked on."""


class IndexMismatchError(Exception):
    """The decoder's frames are not the ones that the packet index promised.

    The decoder is right: the caller analyses the video again as one segment, by a decoding pass
    (worker.index.fallback_plan).
    """
