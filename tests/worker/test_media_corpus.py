"""Odd, broken and hostile media: every file ends as its manifest says, and nothing but the file is read.

The files of ../shared/data/media are optional and skipped by name; what follows them is made here and always runs.
"""

import csv
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import videos
from worker import errors
from worker.decode import DecodeLimits, Frame, iter_frames
from worker.index import fallback_plan, index_video, plan_segments

ROOT = Path(__file__).resolve().parents[2]
MEDIA = Path(os.environ.get("EMOCLIP_DATA") or ROOT.parent / "shared" / "data") / "media"
LIMITS = DecodeLimits(stall_seconds=20)

REFUSALS: dict[str, tuple[type[errors.AnalysisError], ...]] = {
    "no_video": (errors.NoVideoStreamError,),
    "not_media": (errors.UnsupportedMediaError,),
    "outside_whitelist": (errors.UnsupportedMediaError,),
    "attack_shape": (errors.UnsupportedMediaError,),
    "broken_noframes": (errors.UndecodableError,),
    "broken_or_unsupported": (errors.UnsupportedMediaError, errors.NoVideoStreamError, errors.UndecodableError),
    "bomb": (errors.TooManyPixelsError, errors.UndecodableError),
}
"""Errors that a kind of file may end with; other kinds are decoded."""


@cache
def manifest() -> dict[str, dict[str, str]]:
    """Rows of the manifest by file name; empty where the data is not there."""
    if not (MEDIA / "manifest.tsv").is_file():
        return {}
    with (MEDIA / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


def names(*, refused: bool) -> list[str]:
    """Files that have to be refused, or those to be decoded; one stand-in that skips where there is no data."""
    found = [name for name, row in manifest().items() if (row["kind"] in REFUSALS) == refused]
    return found or ["the media files of ../shared/data"]


def open_or_skip(name: str) -> Path:
    if name not in manifest():
        pytest.skip(f"optional data not found: {name} (set EMOCLIP_DATA)")
    return MEDIA / name


def analyse(path: Path, *, segment_frames: int = 16) -> list[Frame]:
    """Index and decode as a worker does, falling back as it does."""
    index = index_video(path, sample_fps=None, limits=LIMITS)
    try:
        plans = plan_segments(index, segment_frames=segment_frames)
        return [frame for plan in plans for frame in iter_frames(path, plan, sample_fps=None, limits=LIMITS)]
    except errors.IndexMismatchError:
        return list(iter_frames(path, fallback_plan(), sample_fps=None, limits=LIMITS))


@pytest.mark.parametrize("name", names(refused=True))
def test_a_file_to_be_refused_is_refused(name: str) -> None:
    path = open_or_skip(name)

    with pytest.raises(errors.AnalysisError) as caught:
        analyse(path)

    assert isinstance(caught.value, REFUSALS[manifest()[name]["kind"]])


@pytest.mark.parametrize("name", names(refused=False))
def test_a_file_to_be_decoded_gives_the_reference_decoders_frames(name: str) -> None:
    path = open_or_skip(name)

    frames = analyse(path)

    assert [frame.number for frame in frames] == list(range(int(manifest()[name]["frames"])))


def test_bombs_stay_in_their_memory() -> None:
    bombs = [str(MEDIA / name) for name, row in manifest().items() if row["kind"] == "bomb"]
    if not bombs:
        pytest.skip("optional data not found: the bombs of ../shared/data/media (set EMOCLIP_DATA)")
    code = """
import resource, sys
from pathlib import Path
from worker.decode import DecodeLimits
from worker.errors import AnalysisError
from worker.index import index_video
for path in sys.argv[1:]:
    try:
        index_video(Path(path), sample_fps=None, limits=DecodeLimits())
    except AnalysisError:
        pass
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)
"""

    done = subprocess.run([sys.executable, "-c", code, *bombs], cwd=ROOT, capture_output=True, text=True, timeout=60)

    # interpreter and libraries take some 80 MiB; a bomb once decoded takes 200 to 1100 MiB
    assert int(done.stdout) < 150


# files that point at others


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield server


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile canary.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder}/canary.mp4\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:{port}/canary.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
    ids=["concat", "playlist of a file", "playlist of a server", "session description"],
)
@pytest.mark.parametrize("name", ["source", "video.mp4"])
def test_a_file_that_points_elsewhere_is_refused(text: str, name: str, tmp_path: Path, listener: socket.socket) -> None:
    # if the canary or the server were opened, there would be frames or a connection
    videos.write_constant_rate(tmp_path / "canary.mp4", 8)
    path = tmp_path / name
    path.write_text(text.format(folder=tmp_path, port=listener.getsockname()[1]))

    with pytest.raises(errors.UnsupportedMediaError):
        analyse(path)
    with pytest.raises(TimeoutError):
        listener.accept()
