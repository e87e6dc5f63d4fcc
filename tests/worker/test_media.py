"""Uploads on a real disk: whole or not at all, and nowhere but under the job's id."""

import os
from pathlib import Path

import pytest

from worker.media import LocalMediaStore, StorageFullError, UploadBusyError
from worker.store import new_job_id


@pytest.fixture
def media(tmp_path: Path) -> LocalMediaStore:
    return LocalMediaStore(tmp_path / "media")


def test_committed_upload_can_be_read_by_its_path(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    with media.begin(job_id) as upload:
        upload.write(b"one")
        upload.write(b"two")
        upload.commit()
    assert media.path(job_id).read_bytes() == b"onetwo"
    assert [path.name for path in media.path(job_id).parent.iterdir()] == ["source"]


def test_upload_is_invisible_until_it_is_committed(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    with media.begin(job_id) as upload:
        upload.write(b"one")
        with pytest.raises(FileNotFoundError):
            media.path(job_id)


def test_aborted_upload_leaves_nothing(media: LocalMediaStore, tmp_path: Path) -> None:
    with media.begin(new_job_id()) as upload:
        upload.write(b"one")
    assert list((tmp_path / "media").iterdir()) == []


def test_upload_belongs_to_its_owner_alone(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    with media.begin(job_id) as upload:
        upload.commit()
    assert media.path(job_id).stat().st_mode & 0o077 == 0
    assert media.path(job_id).parent.stat().st_mode & 0o077 == 0


def test_second_upload_for_one_job_is_refused(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    with media.begin(job_id), pytest.raises(FileExistsError):
        media.begin(job_id)


def test_delete_erases_finished_and_unfinished_uploads_and_may_be_repeated(
    media: LocalMediaStore, tmp_path: Path
) -> None:
    finished, unfinished = new_job_id(), new_job_id()
    with media.begin(finished) as upload:
        upload.commit()
    with media.begin(unfinished):
        for job_id in (finished, unfinished, finished, new_job_id()):
            media.delete(job_id)
        assert list((tmp_path / "media").iterdir()) == []


@pytest.mark.parametrize("job_id", ["", "..", "../x", "/etc", "a" * 31, "A" * 32, "a" * 32 + "\n", "a" * 30 + "/."])
def test_anything_but_a_job_id_never_reaches_the_disk(media: LocalMediaStore, tmp_path: Path, job_id: str) -> None:
    for act in (media.begin, media.resume, media.path, media.delete):
        with pytest.raises(ValueError, match="expected a job id"):
            act(job_id)
    assert list(tmp_path.iterdir()) == []


def test_upload_that_would_not_leave_room_is_refused_before_it_begins(tmp_path: Path) -> None:
    free_bytes = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    media = LocalMediaStore(tmp_path, keep_free_bytes=0)
    with pytest.raises(StorageFullError):
        media.begin(new_job_id(), expected_bytes=2 * free_bytes)
    with pytest.raises(StorageFullError):
        LocalMediaStore(tmp_path, keep_free_bytes=2 * free_bytes).begin(new_job_id())
    assert list(tmp_path.iterdir()) == []


def test_stale_uploads_are_those_that_nothing_was_written_to(media: LocalMediaStore, tmp_path: Path) -> None:
    fresh, stale = new_job_id(), new_job_id()
    with media.begin(fresh), media.begin(stale):
        for path in (tmp_path / "media" / stale / "source.part", tmp_path / "media" / stale):
            os.utime(path, (0, 0))
        (tmp_path / "media" / "not an id").mkdir()
        assert list(media.iter_stale_ids(older_than_seconds=60)) == [stale]


def test_stale_uploads_of_a_directory_that_was_never_used_are_none(media: LocalMediaStore) -> None:
    assert list(media.iter_stale_ids(older_than_seconds=0)) == []


def resume_at(media: LocalMediaStore, job_id: str, offset: int, data: bytes) -> int:
    with media.resume(job_id) as upload:
        start = upload.rewind(offset)
        upload.write(data)
        return start


def test_resumed_upload_goes_on_at_the_offset(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    media.begin_resumable(job_id)
    resume_at(media, job_id, 0, b"one, unconfirmed")

    with media.resume(job_id) as upload:
        assert upload.rewind(3) == 3
        upload.write(b"two")
        upload.commit()

    assert media.path(job_id).read_bytes() == b"onetwo"


def test_resumed_upload_starts_where_the_file_ends_if_that_is_before(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    media.begin_resumable(job_id)
    resume_at(media, job_id, 0, b"one")

    assert resume_at(media, job_id, 100, b"") == 3


def test_upload_that_was_committed_can_go_on_until_there_is_a_job(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    media.begin_resumable(job_id)
    with media.resume(job_id) as upload:
        upload.write(b"onetwo")
        upload.commit()

    resume_at(media, job_id, 3, b"four")

    with pytest.raises(FileNotFoundError):
        media.path(job_id)
    with media.resume(job_id) as upload:
        upload.commit()
    assert media.path(job_id).read_bytes() == b"onefour"


def test_resumed_upload_is_held_by_one_at_a_time(media: LocalMediaStore) -> None:
    job_id = new_job_id()
    media.begin_resumable(job_id)
    with media.resume(job_id) as upload:
        with pytest.raises(UploadBusyError):
            media.resume(job_id)
        upload.commit()
        with pytest.raises(UploadBusyError):  # until the context is left, and the job's record written
            media.resume(job_id)
    media.resume(job_id).close()


def test_upload_that_was_never_begun_cannot_be_resumed(media: LocalMediaStore) -> None:
    with pytest.raises(FileNotFoundError):
        media.resume(new_job_id())


def test_resuming_without_room_leaves_the_upload_free(tmp_path: Path) -> None:
    job_id = new_job_id()
    media = LocalMediaStore(tmp_path, keep_free_bytes=0)
    media.begin_resumable(job_id)
    with pytest.raises(StorageFullError):
        media.resume(job_id, expected_bytes=1 << 60)
    media.resume(job_id).close()
