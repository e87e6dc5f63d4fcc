"""The README tells the truth: its commands run, settings and endpoints are all in it, links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from app.embedded import Service, run_service
from app.main import create_app
from app.settings import ApiSettings
from worker.settings import QueueSettings, WorkerSettings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
MAKE_TARGETS = sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE)))
SERVICE = "localhost:8000"
CLIENT_BLOCKS = [block for block in BLOCKS if SERVICE in block]
COMMAND_BLOCKS = [block for block in BLOCKS if block.startswith("emoclip analyze")]

pytestmark = pytest.mark.timeout(600)  # the sample is analysed twice, and a machine may be busy


def describe(settings: type[BaseSettings]) -> list[str]:
    """Return the rows that the settings table must hold, made from the settings class."""
    rows = []
    for name, field in settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        rows.append(f"| `EMOCLIP_{name.upper()}` | {default} | {(field.description or '').replace(chr(10), ' ')} |")
    return rows


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory in which the sample lies where the README says."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def run_block(block: str, folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readme_shows_commands() -> None:
    assert {"demo", "test", "serve"} <= set(MAKE_TARGETS)
    assert CLIENT_BLOCKS
    assert COMMAND_BLOCKS
    assert PYTHON_BLOCKS


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's requests are made with curl")
@pytest.mark.parametrize("block", CLIENT_BLOCKS)
def test_requests_work(block: str, service: Service, folder: Path) -> None:
    output = run_block(block.replace(SERVICE, service.url.removeprefix("http://")), folder)
    assert '"type":"urn:emoclip:problem:' not in output
    assert "{" in output


@pytest.mark.parametrize("block", PYTHON_BLOCKS)
def test_python_works(block: str, service: Service, folder: Path) -> None:
    code = block.replace(f"http://{SERVICE}", service.url)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "happiness" in done.stdout


@pytest.mark.parametrize("block", COMMAND_BLOCKS)
def test_commands_work(block: str, folder: Path) -> None:
    run_block(block, folder)
    assert {path.suffix for path in folder.iterdir()} >= {".json", ".png"}


@pytest.mark.parametrize("settings", [ApiSettings, QueueSettings, WorkerSettings])
def test_every_setting_is_documented(settings: type[BaseSettings]) -> None:
    expected = describe(settings)
    missing = [row for row in expected if row not in README]
    assert not missing, "the table must read:\n" + "\n".join(expected)


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = set(re.findall(r"^\| `EMOCLIP_([A-Z0-9_]+)`", README, flags=re.MULTILINE))
    known = {name.upper() for kind in (ApiSettings, QueueSettings, WorkerSettings) for name in kind.model_fields}
    assert documented <= known


def test_every_endpoint_is_documented() -> None:
    paths = create_app().openapi()["paths"]
    endpoints = [(method.upper(), path) for path in sorted(paths) for method in sorted(paths[path])]
    missing = [f"{method} {path}" for method, path in endpoints if f"`{method} {path}`" not in README]
    assert not missing


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
