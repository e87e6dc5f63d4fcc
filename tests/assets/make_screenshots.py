"""Makes page*.png beside this file: the page with the analysed sample, as the README shows it.

Run: `python -m tests.assets.make_screenshots`. Needs a Chromium; runs the whole service and a real analysis.
"""

import io
import tempfile
from pathlib import Path

from PIL import Image, ImageColor
from playwright.sync_api import Browser, expect, sync_playwright

from app.embedded import run_service
from app.palette import EMOTION_COLORS
from tests.chromium import find_chromium

FOLDER = Path(__file__).parent
SAMPLE = FOLDER / "sample.mp4"
WAIT_MS = 600_000
PAGE_COLOURS, PICTURE_COLOURS = 80, 167
"""The most frequent colours, which are the page's own, stay as they are; the rest serve the video's picture."""
DELETE_COLOURS = ("#b3261e", "#ff9a90")
"""Of the button, as style.css has them."""


def shoot(browser: Browser, url: str, name: str, *, width: int, height: int, scheme: str, scale: float = 1) -> None:
    """Open the newest job, give it its file, go to a moment of the video and write what is seen."""
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto("/")
    page.locator(".recent-job").first.click()
    expect(page.locator("#chart")).to_have_attribute("data-drawn", "175", timeout=WAIT_MS)
    page.set_input_files("#own-file", SAMPLE)
    page.locator("#surface").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#boxes")).to_have_attribute("data-frame", "50")
    expect(page.locator("#downloads a").first).to_be_visible()
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    pack(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).save(FOLDER / name, optimize=True)
    context.close()


def pack(image: Image.Image) -> Image.Image:
    """Return the image with a palette: a third of the bytes."""
    counted = sorted(image.getcolors(image.width * image.height) or [], reverse=True)[:PAGE_COLOURS]
    rare = [*EMOTION_COLORS.values(), *DELETE_COLOURS]  # too small to be frequent
    kept = [*map(ImageColor.getrgb, rare), *(color for _, color in counted if isinstance(color, tuple))]
    frequent = [channel for color in kept for channel in color]
    others = image.quantize(PICTURE_COLOURS).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent, *others][: 256 * 3])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    """Analyse the sample and take the pictures."""
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium is installed: apt-get install chromium, or set EMOCLIP_CHROMIUM")
    with (
        tempfile.TemporaryDirectory() as directory,
        run_service(Path(directory)) as service,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=WAIT_MS)
        page = browser.new_page(base_url=service.url)
        page.goto("/")
        page.set_input_files("#file", SAMPLE)
        expect(page.locator("#announcer")).to_contain_text("The analysis is done", timeout=WAIT_MS)
        page.close()
        shoot(browser, service.url, "page.png", width=1120, height=1180, scheme="light")
        shoot(browser, service.url, "page-phone.png", width=390, height=844, scheme="light", scale=1.5)
        shoot(browser, service.url, "page-dark.png", width=1120, height=1180, scheme="dark")
        browser.close()


if __name__ == "__main__":
    main()
