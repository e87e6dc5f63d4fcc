"""`make audit` against a service on this machine that answers as OSV does: known, unknown, broken, gone."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCK = """\
av==17.1.0 --hash=sha256:{hash}
rich==14.2.0 --hash=sha256:{hash}
""".format(hash="0" * 64)
ADVISORY = {
    "id": "PYSEC-0000-1",
    "aliases": ["CVE-0000-1"],
    "summary": "a hole",
    "affected": [
        {
            "package": {"name": "av", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "18.1.0"}]}],
        }
    ],
}


@contextmanager
def run_service(answer: Callable[[str], object]) -> Iterator[str]:
    """Serve what `answer` says of a package's name; None is a server error. Yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer(query["package"]["name"])
            body = json.dumps(found).encode()
            self.send_response(500 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        server.shutdown()
        thread.join()


def audit(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "requirements.lock").write_text(LOCK)
    command = [sys.executable, ".ci/audit.py", str(folder / "requirements.lock"), "--osv-url", url, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_audit_passes_where_nothing_is_known(tmp_path: Path) -> None:
    with run_service(lambda name: {}) as url:
        done = audit(tmp_path, url)
    assert (done.returncode, done.stdout) == (0, "No known vulnerability in 2 locked packages.\n"), done.stderr


def test_audit_fails_with_what_is_known_and_not_ignored(tmp_path: Path) -> None:
    ignored = ADVISORY | {"id": "PYSEC-0000-2", "aliases": ["CVE-0000-2"]}
    with run_service(lambda name: {"vulns": [ADVISORY, ignored]} if name == "av" else {}) as url:
        done = audit(tmp_path, url, "--ignore-vuln", "CVE-0000-2")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "av 17.1.0: PYSEC-0000-1, CVE-0000-1; fixed in 18.1.0",
        "Known vulnerabilities: 1, in 2 locked packages.",
    ]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1/query", None], ids=["unreachable", "broken"])
def test_audit_that_was_none_says_so_and_fails(url: str | None, tmp_path: Path) -> None:
    with run_service(lambda name: None) as broken:
        done = audit(tmp_path, url or broken)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"NOT AUDITED: {url or broken} did not answer, so nothing is known.")
    assert len(done.stderr.splitlines()) == 1
