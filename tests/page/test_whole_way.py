"""A video from the file chooser to the box over the face: the page, the API, Redis and a real worker."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.chromium import WAIT_MS
from tests.worker.worker_process import run_worker
from worker.settings import QueueSettings, WorkerSettings

ANALYSIS_MS = 6 * WAIT_MS

pytestmark = pytest.mark.timeout(300)  # a worker loads its networks, and a machine may be busy


@pytest.fixture
def worker(queue: QueueSettings, tmp_path: Path) -> Iterator[None]:
    with run_worker(queue, WorkerSettings(device="cpu"), log=tmp_path / "worker.log"):
        yield


def test_a_video_is_sent_analysed_and_played_with_its_boxes(page: Page, worker: None, sample_video: Path) -> None:
    page.goto("/")
    page.get_by_text("Options").click()
    page.get_by_label("Frames a second").select_option("5")

    page.set_input_files("#file", sample_video)

    expect(page.get_by_role("heading", level=1)).to_have_text("sample.mp4")
    expect(page.locator("#announcer")).to_have_text("The analysis is done: 2 faces were found.", timeout=ANALYSIS_MS)
    expect(page.locator("#chart")).to_have_attribute("data-drawn", "35")
    expect(page.locator("#now-face")).to_have_text("Face 1")
    expect(page.locator("#now-bars li.leads")).to_contain_text("happiness")

    surface = page.locator("#surface")
    surface.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")

    # the file that was sent plays without being chosen again; at 2 s the face fills the middle of the picture
    expect(page.locator("#boxes")).to_have_attribute("data-frame", "50")
    [face] = json.loads(page.locator("#boxes").get_attribute("data-faces") or "[]")
    assert face["box"] == pytest.approx([140, 42, 341, 318], abs=12)
    assert page.evaluate("document.getElementById('video').currentTime") == pytest.approx(2)
    assert find_painted(page) == pytest.approx([140 / 480, 42 / 360, 341 / 480, 318 / 360], abs=0.04)


def find_painted(page: Page) -> list[float]:
    """Return the corners of what is drawn in happiness' yellow over the video, as shares of its size."""
    corners: list[float] = page.evaluate(
        """() => {
            const canvas = document.getElementById("boxes"), {width, height} = canvas;
            const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
            let [left, top, right, bottom] = [width, height, 0, 0];
            for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
                const at = 4 * (y * width + x);
                if (data[at] < 200 || data[at + 1] < 200 || data[at + 2] > 120 || data[at + 3] < 200) continue;
                [left, top] = [Math.min(left, x), Math.min(top, y)];
                [right, bottom] = [Math.max(right, x), Math.max(bottom, y)];
            }
            // the picture lies in the canvas as `object-fit: contain` puts it
            const scale = Math.min(width / 480, height / 360);
            const [x0, y0] = [(width - 480 * scale) / 2, (height - 360 * scale) / 2];
            return [(left - x0) / 480 / scale, (top - y0) / 360 / scale, (right - x0) / 480 / scale,
                (bottom - y0) / 360 / scale];
        }"""
    )
    return corners
