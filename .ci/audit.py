"""Ask the OSV service for known vulnerabilities of everything in requirements.lock: `make audit`.

Nothing is resolved or installed: names and versions are read from the hashed lock, as `make setup` installs them. Exit
codes: 0 none known; 1 some are known; 2 it is not known, because the service did not answer for every package. A
wrapper of pip-audit, which alone passes with exit code 0 over packages that its service does not know, and ends in a
traceback where the service cannot be reached.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
OSV_URL = "https://api.osv.dev/v1/query"


def main() -> int:
    """Audit the lock and say what is known in the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lock", nargs="?", type=Path, default=LOCK)
    parser.add_argument("--osv-url", default=OSV_URL, metavar="URL")
    parser.add_argument(
        "--ignore-vuln", action="append", default=[], metavar="ID", help="accept one that is known; repeatable"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "audit.json"
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(options.lock), "--disable-pip"]
        command += ["--vulnerability-service", "osv", "--osv-url", options.osv_url, "--progress-spinner", "off"]
        command += ["--format", "json", "--desc", "off", "--output", str(output), "--cache-dir", folder]
        command += [argument for name in options.ignore_vuln for argument in ("--ignore-vuln", name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not output.is_file():
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return _say(2, f"NOT AUDITED: {options.osv_url} did not answer, so nothing is known. {reason}")
        packages = json.loads(output.read_text(encoding="utf-8"))["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        return _say(2, f"NOT AUDITED: {options.osv_url} did not answer for {', '.join(skipped)}.")
    found = [(package, problem) for package in packages for problem in package["vulns"]]
    for package, problem in found:
        names = ", ".join([problem["id"], *problem.get("aliases", [])])
        fixed = " or ".join(problem["fix_versions"]) or "no version yet"
        _say(1, f"{package['name']} {package['version']}: {names}; fixed in {fixed}")
    if found:
        return _say(1, f"Known vulnerabilities: {len(found)}, in {len(packages)} locked packages.")
    return _say(0, f"No known vulnerability in {len(packages)} locked packages.")


def _say(status: int, sentence: str) -> int:
    print(sentence, file=sys.stderr if status else sys.stdout)  # noqa: T201  # a command line tool
    return status


if __name__ == "__main__":
    sys.exit(main())
