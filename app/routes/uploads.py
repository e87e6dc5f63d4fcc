"""The endpoints of resumable uploads: tus 1.0.0, so that any of its clients can send a video in pieces."""

from contextlib import suppress
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response

from app.early_answers import has_body
from app.resumable import ResumableUploads
from app.routes.common import (
    DIGEST_HELP,
    CallbacksDependency,
    OwnerDependency,
    document_header,
    document_problems,
    get_job_path,
    get_prefix,
    to_wish,
)
from app.tus import (
    PIECE_MEDIA_TYPE,
    UPLOADS_PATH,
    check_version,
    create_option_headers,
    create_upload_headers,
    read_metadata,
    read_size,
)
from app.upload_errors import CHECKSUM_MISMATCH_STATUS, UnsupportedUploadError, UploadNotFoundError
from app.uploads import check_encoding
from worker.intake_store import UploadSnapshot
from worker.store import StoreUnavailableError

__all__ = ["router"]

router = APIRouter(tags=["resumable uploads"], dependencies=[Depends(check_version)])


def _get_uploads(request: Request) -> ResumableUploads:
    uploads: ResumableUploads = request.app.state.resumable_uploads
    return uploads


UploadsDependency = Annotated[ResumableUploads, Depends(_get_uploads)]

_VERSION_HEADER = document_header("Tus-Resumable", "`1.0.0`", required=True)
_OFFSET_HEADER = document_header("Upload-Offset", "Where the piece begins: where the last one ended.", required=True)
_CHECKSUM_HEADERS = [
    document_header("Upload-Checksum", "`sha1`, `sha256` or `sha512`, a blank, and the piece's digest in base64."),
    document_header("Content-Digest", DIGEST_HELP),
]
_PIECE = {"content": {PIECE_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
_NO_UPLOAD = "No such upload, or not yours; or it has expired."
_NO_VERSION = "The header `Tus-Resumable: 1.0.0` is missing."


def _document_headers(**descriptions: str) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
        for name, text in descriptions.items()
    }


_STATE_HEADERS = _document_headers(
    Upload_Offset="Bytes that count.",
    Upload_Expires="When an unfinished upload is erased, unless more of it is sent before.",
    Emoclip_Job="URL of the job, once the last byte has arrived.",
)
_PIECE_PROBLEMS: dict[str, str] = {
    "_400": "A header is missing or malformed, or the piece is not what `Content-Digest` says; it does not count.",
    "_408": "The piece is too slow; what arrived of it counts.",
    "_412": _NO_VERSION,
    "_413": "The video is too large, or the piece goes beyond its end.",
    "_415": f"A piece has the type `{PIECE_MEDIA_TYPE}`.",
    "_423": "Another request sends this upload.",
    "_429": "Too many uploads at the same time, or a limit of the API key.",
    f"_{CHECKSUM_MISMATCH_STATUS}": "The piece is not what `Upload-Checksum` says; it does not count.",
    "_507": "No room for the video.",
}


@router.options(
    UPLOADS_PATH,
    summary="What is understood of tus",
    operation_id="get_upload_options",
    status_code=204,
    response_class=Response,
    responses={
        204: {
            "headers": _document_headers(
                Tus_Version="Versions of the protocol.",
                Tus_Extension="Its extensions.",
                Tus_Max_Size="Largest video in bytes.",
                Tus_Checksum_Algorithm="Algorithms of `Upload-Checksum`.",
            )
        },
        **document_problems(),
    },
)
async def get_upload_options(uploads: UploadsDependency, owner: OwnerDependency) -> Response:
    """Return version, extensions, largest size and checksum algorithms, as headers."""
    return Response(status_code=204, headers=create_option_headers(uploads.max_bytes))


@router.post(
    UPLOADS_PATH,
    summary="Begin a resumable upload (tus creation)",
    operation_id="create_upload",
    status_code=201,
    response_class=Response,
    openapi_extra={
        "parameters": [
            _VERSION_HEADER,
            document_header("Upload-Length", "Bytes of the whole video.", required=True),
            document_header(
                "Upload-Metadata",
                "Pairs of a key, a blank and a value in base64, between commas: `filename`, and the job's options as "
                "in `POST /v1/jobs`. Other keys are kept and mean nothing.",
            ),
            *_CHECKSUM_HEADERS,
        ],
        "requestBody": {"description": "Nothing, or the first piece.", **_PIECE},
    },
    responses={
        201: {
            "description": "Begun; send the pieces to `Location`.",
            "headers": {**_document_headers(Location="URL of the upload."), **_STATE_HEADERS},
        },
        **document_problems(
            **_PIECE_PROBLEMS,
            _404="The upload was erased while its first piece arrived.",
            _409="The first piece cannot be written.",
            _422="The video is empty, or one of its options is refused.",
        ),
    },
)
async def create_upload(
    request: Request, uploads: UploadsDependency, callbacks: CallbacksDependency, owner: OwnerDependency
) -> Response:
    """Make an upload. Its id is that of the job to be; a first piece may come along."""
    length_bytes = read_size(request.headers, "upload-length")
    metadata, parameters = read_metadata(request.headers)
    has_piece = has_body(request.headers)
    if has_piece:
        _check_piece_type(request)
    await callbacks.check(parameters.callback_url)
    wish = to_wish(parameters, owner=owner)
    upload = await to_thread.run_sync(lambda: uploads.open(wish, length_bytes=length_bytes, metadata=metadata))
    upload_id = upload.record.upload_id
    if has_piece:
        try:
            upload = await uploads.append(request, upload_id, owner=owner, offset=0)
        except Exception:  # the client does not learn where the upload is
            with suppress(UploadNotFoundError, StoreUnavailableError):
                await to_thread.run_sync(lambda: uploads.delete(upload_id, owner=owner))
            raise
    location = f"{get_prefix(request)}{UPLOADS_PATH}/{upload_id}"
    return Response(status_code=201, headers={"Location": location, **_describe(request, upload)})


@router.head(
    f"{UPLOADS_PATH}/{{upload_id}}",
    summary="How far an upload came",
    operation_id="get_upload",
    response_class=Response,
    openapi_extra={"parameters": [_VERSION_HEADER]},
    responses={
        200: {
            "headers": {
                **_STATE_HEADERS,
                **_document_headers(
                    Upload_Length="Bytes of the whole video.", Upload_Metadata="As it was sent when the upload began."
                ),
            }
        },
        **document_problems(_404=_NO_UPLOAD, _412=_NO_VERSION),
    },
)
def get_upload(request: Request, uploads: UploadsDependency, owner: OwnerDependency, upload_id: str) -> Response:
    """Return where to go on, also after the upload has become a job."""
    upload = uploads.get(upload_id, owner=owner)
    headers = {"Upload-Length": str(upload.record.length_bytes), **_describe(request, upload)}
    if upload.record.metadata:
        headers["Upload-Metadata"] = upload.record.metadata
    return Response(headers=headers)


@router.patch(
    f"{UPLOADS_PATH}/{{upload_id}}",
    summary="Send a piece of an upload",
    operation_id="append_to_upload",
    status_code=204,
    response_class=Response,
    openapi_extra={
        "parameters": [_VERSION_HEADER, _OFFSET_HEADER, *_CHECKSUM_HEADERS],
        "requestBody": {"required": True, **_PIECE},
    },
    responses={
        204: {"description": "Written; the last piece has made the job `Emoclip-Job`.", "headers": _STATE_HEADERS},
        **document_problems(
            **_PIECE_PROBLEMS,
            _404=_NO_UPLOAD,
            _409="The piece does not begin where the last one ended: ask with HEAD.",
        ),
    },
)
async def append_to_upload(
    request: Request, uploads: UploadsDependency, owner: OwnerDependency, upload_id: str
) -> Response:
    """Write a piece. The last byte makes the job, exactly one whatever happens."""
    _check_piece_type(request)
    offset = read_size(request.headers, "upload-offset")
    upload = await uploads.append(request, upload_id, owner=owner, offset=offset)
    return Response(status_code=204, headers=_describe(request, upload))


@router.delete(
    f"{UPLOADS_PATH}/{{upload_id}}",
    summary="Erase an upload",
    operation_id="delete_upload",
    status_code=204,
    response_class=Response,
    openapi_extra={"parameters": [_VERSION_HEADER]},
    responses=document_problems(_404=_NO_UPLOAD, _412=_NO_VERSION),
)
def delete_upload(uploads: UploadsDependency, owner: OwnerDependency, upload_id: str) -> None:
    """Erase what arrived, and the job, if it has become one."""
    uploads.delete(upload_id, owner=owner)


def _check_piece_type(request: Request) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != PIECE_MEDIA_TYPE:
        raise UnsupportedUploadError(f"A piece of an upload has the Content-Type {PIECE_MEDIA_TYPE}.")
    check_encoding(request.headers)


def _describe(request: Request, upload: UploadSnapshot) -> dict[str, str]:
    return create_upload_headers(upload, job_path=get_job_path(request, upload.record.upload_id))
