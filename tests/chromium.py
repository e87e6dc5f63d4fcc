"""The Chromium that the browser tests drive. `python -m tests.chromium` fails with a sentence where there is none."""

import os
import shutil
import sys

import pytest
from playwright.sync_api import Browser, Playwright

__all__ = ["MISSING", "WAIT_MS", "find_chromium", "launch_chromium"]

WAIT_MS = 30_000
"""Far more than anything takes; nothing waits for it to pass."""
MISSING = "no Chromium is installed: apt-get install chromium, or set EMOCLIP_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str | None:
    """Return the program, None where there is none; EMOCLIP_CHROMIUM names it where it has another name."""
    found = [os.environ.get("EMOCLIP_CHROMIUM"), *map(shutil.which, _NAMES)]
    return next((path for path in found if path), None)


def launch_chromium(playwright: Playwright) -> Browser:
    """Return a running browser; a test that asks for one is skipped where there is none."""
    program = find_chromium()
    if program is None:
        pytest.skip(MISSING)
    # root has no user namespaces in containers, which the browser's own sandbox needs
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=program, args=arguments, timeout=WAIT_MS)


if __name__ == "__main__":
    sys.exit(None if find_chromium() else MISSING)
