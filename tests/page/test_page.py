"""What the page does, in a real Chromium: jobs come from the store, with rows of the tests' choice."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Page, Position, Request, expect

from app.exports.formats import ExportFormat
from model.labels import EMOTIONS, Emotion
from tests.app.conftest import CreateServer
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows, finish_job, put_segment
from tests.chromium import WAIT_MS
from tests.page.conftest import Watch
from worker.contract import ErrorCode, FaceRow, FrameRow, JobFailure
from worker.store import new_job_id
from worker.work_store import WorkStore

HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;.mp4"

pytestmark = pytest.mark.timeout(180)  # a busy machine gives the browser little time

expect.set_options(timeout=WAIT_MS)


def locate_face(face: FaceRow, *, frame: int) -> FaceRow:
    """Return the face with a box that tells the frame."""
    return face.model_copy(update={"box": (float(frame), 60.0, frame + 50.0, 120.0)})


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """As long as the sample: a happy and a sad face, a cut at 3 s, an angry one, no face in the last second."""
    happy, sad, angry = (
        create_face(1),
        create_face(2, Emotion.SADNESS),
        create_face(3, Emotion.ANGER),
    )
    faces = [[happy, sad]] * 75 + [[angry]] * 75 + [[]] * 25
    return create_rows([[locate_face(face, frame=frame) for face in found] for frame, found in enumerate(faces)])


def open_job(page: Page, job_id: str, *, rows: int = 175) -> None:
    """Go to a job and return when its chart is drawn."""
    page.goto(f"/#job={job_id}", wait_until="commit")
    expect(page.locator("#chart")).to_have_attribute("data-drawn", str(rows))


def text_file(name: str = "notes.txt", mime_type: str = "text/plain") -> FilePayload:
    return {"name": name, "mimeType": mime_type, "buffer": b"not a video\n"}


def wait_until(holds: Callable[[], object]) -> None:
    """Ask until it holds: the page's policy forbids `wait_for_function`, which evaluates text in the page."""
    ends = time.monotonic() + WAIT_MS / 1000
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def locate_on_chart(page: Page, share: float, *, y: float) -> Position:
    """Return the place at a share of the time axis, some pixels below the chart's top, as the surface counts."""
    box = page.locator("#surface").bounding_box()
    assert box is not None
    return {"x": share * box["width"], "y": y}


def click_chart(page: Page, share: float, *, y: float) -> None:
    """Click there; a mouse reaches only what the window shows, so the chart is scrolled into it."""
    page.locator("#surface").click(position=locate_on_chart(page, share, y=y))


def read_seconds(page: Page) -> float:
    return float(page.locator("#surface").get_attribute("aria-valuenow") or "nan")


# the first view


def test_first_visit_says_what_to_do_and_what_the_numbers_mean(page: Page) -> None:
    page.goto("/")

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_text("Drop a video here")).to_be_visible()
    expect(page.locator("#start")).to_contain_text("not what a person feels")
    expect(page.locator("#start")).to_contain_text(
        "must not be used to infer emotions of people at work or in education"
    )
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert page.locator("#legend-start li").all_inner_texts() == [emotion.value for emotion in EMOTIONS]


def test_text_file_is_refused_with_a_sentence(page: Page, watch: Watch) -> None:
    watch.expects_refusals = True
    page.goto("/")

    page.set_input_files("#file", text_file())

    expect(page.get_by_role("alert")).to_contain_text("is not a video")
    expect(page.get_by_text("Drop a video here")).to_be_visible()


def test_options_are_sent_and_checked(page: Page, store: WorkStore) -> None:
    page.goto("/")
    page.get_by_text("Options").click()
    page.get_by_label("Frames a second").select_option("5")
    page.get_by_label("Most faces in a frame").fill("0")
    page.set_input_files("#file", text_file("a.mp4", "video/mp4"))
    assert store.list_jobs(limit=5) == []  # 0 faces make no sense: the form says so, nothing is sent

    page.get_by_label("Most faces in a frame").fill("3")
    page.set_input_files("#file", text_file("a.mp4", "video/mp4"))

    page.wait_for_url("**/#job=*")
    [job] = store.list_jobs(limit=5)
    assert (job.record.options.sample_fps, job.record.options.max_faces) == (5, 3)
    assert job.record.file_name == "a.mp4"


def test_upload_shows_how_far_it_is_and_can_be_stopped(page: Page, store: WorkStore) -> None:
    page.goto("/")
    network = page.context.new_cdp_session(page)
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    network.send("Network.emulateNetworkConditions", limits)

    page.set_input_files("#file", {"name": "long.mp4", "mimeType": "video/mp4", "buffer": bytes(4_000_000)})

    progress = page.locator("#upload-progress")
    expect(progress).to_be_visible()
    wait_until(lambda: progress.evaluate("bar => bar.value") > 0)
    expect(page.locator("#upload-text")).to_contain_text("of 4.0\u00a0MB")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Drop a video here")).to_be_visible()
    assert store.list_jobs(limit=5) == []


def test_a_dropped_file_is_sent(page: Page, store: WorkStore) -> None:
    page.goto("/")
    transfer = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["x"], "dropped.mp4", {type: "video/mp4"}));
            return transfer;
        }"""
    )

    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})

    expect(page.get_by_role("heading", level=1)).to_have_text("dropped.mp4")
    assert [job.record.file_name for job in store.list_jobs(limit=5)] == ["dropped.mp4"]


def test_names_of_files_are_only_ever_text(page: Page) -> None:
    page.goto("/")

    page.set_input_files("#file", text_file(HOSTILE, "video/mp4"))

    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    page.get_by_role("link", name="New video").click()
    expect(page.locator(".recent-name")).to_have_text(HOSTILE)
    assert page.locator("main img").count() == 0


def test_the_whole_way_works_by_keyboard(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    create_job_with_rows(store, rows)
    page.goto("/")
    expect(page.locator(".recent-job")).to_be_visible()

    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        if names[-1] == "recent-job":
            break
    page.keyboard.press("Enter")

    assert {"skip", "file", "recent-job"} <= set(names)
    expect(page.get_by_role("heading", level=1)).to_have_text("talk.mp4")


# a finished job


def test_finished_job_shows_its_faces_and_their_shares(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    open_job(page, create_job_with_rows(store, rows))

    assert page.locator(".face-name").all_inner_texts() == ["Face 1", "Face 2", "Face 3"]
    assert page.locator(".face-words").all_inner_texts() == [
        f"{emotion}\u00a0100\u00a0%" for emotion in ("happiness", "sadness", "anger")
    ]
    expect(page.locator("#now-bars li.leads")).to_contain_text("happiness")
    expect(page.locator("#now-bars li.leads")).to_contain_text("70\u00a0%")
    expect(page.locator("#others")).to_have_text("Face 2: sadness")


def test_chart_shows_stripes_cut_and_empty_span(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    open_job(page, create_job_with_rows(store, rows))

    drawn: dict[str, Any] = page.evaluate(
        "(({data, layout}) => ({data: data.map(({type, name, base, x, y}) => ({type, name, base, x, y})),"
        " shapes: layout.shapes.map(({type, x0, x1}) => [type, x0, x1])}))(document.getElementById('chart'))"
    )

    stripes = {line["name"]: list(zip(line["base"], line["x"], strict=True)) for line in drawn["data"][:7]}
    assert stripes["happiness"] == [(0, pytest.approx(3))]
    assert stripes["anger"] == [(pytest.approx(3), pytest.approx(3))]
    stack = {line["name"]: line["y"] for line in drawn["data"][7:]}
    assert stack["happiness"][:75] == [0.7] * 75
    assert stack["not in the picture"][75:175] == [1] * 100
    assert ["rect", pytest.approx(6), pytest.approx(7)] in drawn["shapes"]
    assert ["line", pytest.approx(3), pytest.approx(3)] in drawn["shapes"]


def test_click_seeks_and_chooses_who_is_there(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    open_job(page, create_job_with_rows(store, rows))

    click_chart(page, 0.5, y=120)

    assert read_seconds(page) == pytest.approx(3.5, abs=0.05)
    expect(page.locator("#now-face")).to_have_text("Face 3")
    click_chart(page, 0.1, y=40)  # the second stripe
    expect(page.locator("#now-face")).to_have_text("Face 2")
    expect(page.get_by_label("Face 2")).to_be_checked()


def test_pointing_shows_the_numbers(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    open_job(page, create_job_with_rows(store, rows))

    page.locator("#surface").hover(position={"x": 50, "y": 120})

    expect(page.locator("#tip")).to_contain_text("Face 1")
    expect(page.locator("#tip li").first).to_have_text("happiness 70\u00a0%")


def test_keys_move_the_playhead_and_change_the_face(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    open_job(page, create_job_with_rows(store, rows))
    page.locator("#surface").focus()

    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")

    assert read_seconds(page) == 2.0
    expect(page.locator("#now-face")).to_have_text("Face 2")
    page.keyboard.press(".")
    assert read_seconds(page) == pytest.approx(2.04, abs=0.01)
    page.keyboard.press("End")
    assert read_seconds(page) == 7.0
    expect(page.locator("#surface")).to_have_attribute("aria-valuetext", re.compile("0:07.0 of 0:07.0"))


def test_smoothing_is_done_by_the_service(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    flickering = create_rows([[create_face(1, EMOTIONS[frame % 2])] for frame in range(175)])
    open_job(page, create_job_with_rows(store, flickering))
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/timeline" in request.url else None)

    with page.expect_response(re.compile("/timeline.*smoothing_seconds=1")):
        for _ in range(3):
            page.locator("#smoothing").press("ArrowRight")

    expect(page.locator("#smoothing-text")).to_have_text("1 s")
    chart = page.locator("#chart")
    wait_until(lambda: chart.evaluate("({data}) => Math.abs(data[7].y[80] - 0.375) < 0.05"))
    assert len(asked) < 4  # not one for each step of the slider
    expect(page.get_by_role("link", name="CSV")).to_have_attribute("href", re.compile("smoothing_seconds=1"))


def test_every_export_can_be_downloaded(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)
    open_job(page, job_id)

    links = page.locator("#downloads a")
    expect(links.first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^JSON")).click()

    formats = re.findall(r"format=(\w+)", " ".join(link.get_attribute("href") or "" for link in links.all()))
    assert set(formats) == {known.value for known in ExportFormat}
    assert json.loads(Path(download.value.path()).read_bytes())["rows"][0]["frame"] == 0


def test_delete_asks_first_and_erases(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)
    open_job(page, job_id)

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    assert store.get(job_id) is not None

    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert store.get(job_id) is None


def test_video_without_a_face_says_so(page: Page, store: WorkStore) -> None:
    open_job(page, create_job_with_rows(store, create_rows([[]] * 50)), rows=50)

    expect(page.get_by_text("No face was found in this video.")).to_be_visible()
    expect(page.locator("#announcer")).to_have_text("The analysis is done: no faces were found.")


def test_failed_job_says_why(page: Page, store: WorkStore) -> None:
    job_id = create_job(store)
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.fail(lease, JobFailure(code=ErrorCode.NO_VIDEO_STREAM, message="The file has no video stream."))

    page.goto(f"/#job={job_id}")

    expect(page.get_by_role("alert")).to_have_text("The file has no video stream.")


def test_job_that_is_gone_says_so(page: Page, watch: Watch) -> None:
    watch.expects_refusals = True

    page.goto(f"/#job={new_job_id()}")

    expect(page.get_by_role("alert")).to_contain_text("not there any more")


# with the viewer's own file


def test_boxes_are_those_of_the_picture_that_is_shown(
    page: Page, store: WorkStore, rows: list[FrameRow], sample_video: Path
) -> None:
    open_job(page, create_job_with_rows(store, rows))
    expect(page.get_by_text("Choose your own file")).to_be_visible()
    page.set_input_files("#own-file", sample_video)
    expect(page.locator("#boxes")).to_have_attribute("data-frame", "0")

    # after the page's own callback, in the same picture
    shown: list[list[float]] = page.evaluate(
        """() => new Promise((resolve) => {
            const video = document.getElementById("video"), canvas = document.getElementById("boxes"), seen = [];
            const look = (now, {mediaTime}) => {
                seen.push([mediaTime, Number(canvas.dataset.frame)]);
                if (seen.length < 12) video.requestVideoFrameCallback(look);
                else { video.pause(); resolve(seen); }
            };
            video.requestVideoFrameCallback(look);
            document.getElementById("play").click();
        })"""
    )

    assert [frame for _, frame in shown] == [round(seconds * 25) for seconds, _ in shown]
    assert shown[-1][1] > shown[0][1]


def test_seeking_shows_that_frames_boxes(
    page: Page, store: WorkStore, rows: list[FrameRow], sample_video: Path
) -> None:
    open_job(page, create_job_with_rows(store, rows))
    page.set_input_files("#own-file", sample_video)

    click_chart(page, 0.5, y=120)

    expect(page.locator("#boxes")).to_have_attribute("data-frame", "87")
    page.keyboard.press(",")
    expect(page.locator("#boxes")).to_have_attribute("data-frame", "86")
    faces = json.loads(page.locator("#boxes").get_attribute("data-faces") or "")
    assert faces == [{"track": 3, "box": [86, 60, 136, 120], "emotion": "anger"}]


def test_pointer_previews_while_the_video_stands_still(
    page: Page, store: WorkStore, rows: list[FrameRow], sample_video: Path
) -> None:
    open_job(page, create_job_with_rows(store, rows))
    page.set_input_files("#own-file", sample_video)
    click_chart(page, 0.1, y=120)
    expect(page.locator("#boxes")).to_have_attribute("data-frame", "17")

    page.locator("#surface").hover(position=locate_on_chart(page, 0.3, y=120))
    expect(page.locator("#boxes")).to_have_attribute("data-frame", "52")
    page.mouse.move(0, 0)

    expect(page.locator("#boxes")).to_have_attribute("data-frame", "17")


def test_file_that_the_browser_cannot_play_leaves_the_timeline(
    page: Page, store: WorkStore, rows: list[FrameRow]
) -> None:
    open_job(page, create_job_with_rows(store, rows))

    page.set_input_files("#own-file", text_file("a.avi", "video/x-msvideo"))

    expect(page.get_by_text("Your browser cannot play this file")).to_be_visible()
    click_chart(page, 0.5, y=120)
    assert read_seconds(page) == pytest.approx(3.5, abs=0.05)


# a job that goes on


def test_running_job_shows_progress_and_the_rows_so_far(page: Page, store: WorkStore) -> None:
    rows = create_rows([[create_face(1)]] * 200)
    job_id = create_job_with_rows(store, rows, segments_done=2)

    open_job(page, job_id, rows=80)

    expect(page.locator("#progress-text")).to_contain_text("80 of 200 frames")
    expect(page.locator("#progress-text")).to_contain_text("left")
    expect(page.locator(".face-name")).to_have_text("Face 1")
    for segment in (2, 3, 4):
        put_segment(store, job_id, rows, segment)
    finish_job(store, job_id, rows)
    expect(page.locator("#chart")).to_have_attribute("data-drawn", "200")
    expect(page.locator("#progress-card")).to_be_hidden()
    expect(page.locator("#announcer")).to_have_text("The analysis is done: one face was found.")


# keys


def test_service_with_keys_asks_for_one(
    browser: Browser, create_server: CreateServer, store: WorkStore, rows: list[FrameRow], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"anna {hashlib.sha256(b'right').hexdigest()}\n")
    job_id = create_job_with_rows(store, rows, owner="anna")
    url = create_server(api_keys_file=keys)
    page = browser.new_page(base_url=url)
    page.set_default_timeout(WAIT_MS)

    page.goto("/")
    page.get_by_role("textbox", name="Key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("This key was not accepted")).to_be_visible()
    page.get_by_role("textbox", name="Key").fill("right")
    page.keyboard.press("Enter")

    page.locator(".recent-job").click()
    expect(page.locator("#chart")).to_have_attribute("data-drawn", "175")
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("^CSV")).click()
    assert Path(download.value.path()).read_bytes().startswith(b"frame,")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert httpx.get(f"{url}/v1/jobs/{job_id}", trust_env=False).status_code == 401
    page.close()


# every size


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
def test_nothing_is_wider_than_the_window(page: Page, store: WorkStore, rows: list[FrameRow], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/")
    expect(page.get_by_text("Drop a video here")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    open_job(page, create_job_with_rows(store, rows))

    expect(page.locator("#downloads a").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name(page: Page, store: WorkStore, rows: list[FrameRow]) -> None:
    page.goto("/")
    first = list_nameless(page)
    open_job(page, create_job_with_rows(store, rows))

    assert (first, list_nameless(page)) == ([], [])


def list_nameless(page: Page) -> list[str]:
    """Return the controls that a screen reader could not name."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, video, [role=slider]")]
            .filter((e) => !e.ariaLabel && !e.textContent.trim())
            .filter((e) => ![...(e.labels ?? [])].some((label) => label.textContent.trim()))
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    return found
