"""Small videos, damaged and falsified at random: frames or an error of ours, and nothing else happens.

A bounded, always equal sample runs in `make test`. EMOCLIP_MUTATIONS=5000 tries as many new ones; add
`--hypothesis-show-statistics` for how they ended.
"""

import os
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests import videos
from tests.opened_files import OpenedFiles
from tests.worker.test_decode import decoder_pids
from worker import errors
from worker.decode import DecodeLimits, Frame, iter_frames
from worker.decoder_start import drop_spare, keep_spare
from worker.index import fallback_plan, index_video, plan_segments

SAMPLE = 25
EXAMPLES = int(os.environ.get("EMOCLIP_MUTATIONS") or 0)
FRAMES = 24
LIMITS = DecodeLimits(cpu_seconds=20, stall_seconds=120, memory_bytes=1 << 30, max_frames=5000)
EXTREMES = [0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF]
HEADER_BYTES = 2048
"""Where containers keep what they say of themselves: so many bytes at the beginning, or at the end."""

Mutation = Callable[[bytearray], None]


def place(content: bytearray, where: float) -> int:
    return int(where * (len(content) - 1)) if content else 0


def flip(where: float, bit: int) -> Mutation:
    def mutate(content: bytearray) -> None:
        if content:
            content[place(content, where)] ^= 1 << bit

    return mutate


def lie(where: float, is_at_end: bool, value: int, width: int) -> Mutation:
    """Overwrite a number of a header, at either end of the file, with an extreme one."""

    def mutate(content: bytearray) -> None:
        begin = int(where * min(HEADER_BYTES, len(content)))
        begin = max(0, len(content) - HEADER_BYTES) + begin if is_at_end else begin
        content[begin : begin + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "big")

    return mutate


def truncate(where: float) -> Mutation:
    def mutate(content: bytearray) -> None:
        del content[place(content, where) :]

    return mutate


def remove(where: float, length: int) -> Mutation:
    def mutate(content: bytearray) -> None:
        begin = place(content, where)
        del content[begin : begin + length]

    return mutate


def repeat(where: float, length: int, times: int) -> Mutation:
    def mutate(content: bytearray) -> None:
        begin = place(content, where)
        content[begin:begin] = content[begin : begin + length] * times

    return mutate


def blank(where: float, length: int) -> Mutation:
    def mutate(content: bytearray) -> None:
        begin = place(content, where)
        content[begin : begin + length] = bytes(len(content[begin : begin + length]))

    return mutate


def move(where: float, to: float, length: int) -> Mutation:
    def mutate(content: bytearray) -> None:
        begin = place(content, where)
        chunk = content[begin : begin + length]
        del content[begin : begin + length]
        target = place(content, to)
        content[target:target] = chunk

    return mutate


somewhere = st.floats(0, 1)
lengths = st.sampled_from([1, 4, 16, 188, 1024, 4096])
mutations = st.one_of(
    st.builds(flip, somewhere, st.integers(0, 7)),
    st.builds(lie, somewhere, st.booleans(), st.sampled_from(EXTREMES), st.sampled_from([1, 2, 4, 8])),
    st.builds(truncate, somewhere),
    st.builds(remove, somewhere, lengths),
    st.builds(repeat, somewhere, lengths, st.sampled_from([1, 2, 50])),
    st.builds(blank, somewhere, lengths),
    st.builds(move, somewhere, somewhere, lengths),
)

WRITERS: dict[str, Callable[[Path], Path]] = {
    "video.mp4": lambda path: videos.write_constant_rate(path, FRAMES),
    "video.mkv": lambda path: videos.write_constant_rate(path, FRAMES),
    "video.ts": lambda path: videos.write_constant_rate(path, FRAMES),
    "video.avi": lambda path: videos.write_video(path, FRAMES, codec="mpeg4", options={"g": "12"}),
    "video.webm": lambda path: videos.write_video(
        path, FRAMES, codec="libvpx-vp9", options={"g": "12", "cpu-used": "8"}
    ),
    "video.mpg": lambda path: videos.write_video(path, FRAMES, codec="mpeg1video", options={"g": "12", "bf": "2"}),
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos as they were written."""
    folder = tmp_path_factory.mktemp("intact")
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the damaged file lies, beside one that nobody has a reason to open."""
    folder = tmp_path_factory.mktemp("damaged")
    videos.write_constant_rate(folder / "canary.mp4", 8)
    return folder


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[OpenedFiles]:
    with OpenedFiles(folder) as opened:
        yield opened


@pytest.fixture(scope="module", autouse=True)
def spare() -> Iterator[None]:
    keep_spare()
    yield
    drop_spare()


def analyse(path: Path) -> list[Frame]:
    """Index and decode as a worker does, falling back as it does."""
    index = index_video(path, sample_fps=None, limits=LIMITS)
    try:
        plans = plan_segments(index, segment_frames=8)
        return [frame for plan in plans for frame in iter_frames(path, plan, sample_fps=None, limits=LIMITS)]
    except errors.IndexMismatchError:
        return list(iter_frames(path, fallback_plan(), sample_fps=None, limits=LIMITS))


@pytest.mark.timeout(7200 if EXAMPLES else 900)
@settings(
    max_examples=EXAMPLES or SAMPLE,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(name=st.sampled_from(sorted(WRITERS)), changes=st.lists(mutations, min_size=1, max_size=4))
def test_a_mutated_video_gives_one_row_a_frame_or_an_error_of_ours(
    name: str, changes: list[Mutation], intact: Path, folder: Path, opened: OpenedFiles
) -> None:
    content = bytearray((intact / name).read_bytes())
    for change in changes:
        change(content)
    path = folder / name
    path.write_bytes(content)
    opened.take()

    try:
        frames = analyse(path)
    except errors.AnalysisError as error:
        event(f"{error.code}")
    else:
        event("all frames" if len(frames) == FRAMES else "other frames")
        assert [frame.number for frame in frames] == list(range(len(frames)))
        assert len(frames) == videos.count_decodable_frames(path)
        # a falsified clock may run backwards, before its first time, too; it is what the decoder says
        assert all(isfinite(frame.pts_seconds) for frame in frames)

    assert opened.take() == {name}
    assert len(decoder_pids()) == 1, "the spare alone is left"
