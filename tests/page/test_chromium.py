"""Without a browser `make test-page` fails: tests that are all skipped would look like a page that works."""

import os
import subprocess
import sys
from pathlib import Path

from tests.chromium import MISSING

ROOT = Path(__file__).resolve().parents[2]


def test_missing_browser_is_told_and_is_a_failure(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path), "EMOCLIP_CHROMIUM": ""}

    done = subprocess.run(
        [sys.executable, "-m", "tests.chromium"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, f"{MISSING}\n")
