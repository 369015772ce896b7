"""Runs the two scans of plugins.qgis.org, Bandit and detect-secrets, on the files of the zip.

Bandit's checks that are skipped are listed here with the reason. Nothing else may be found.
"""

from __future__ import annotations

import json
import subprocess
import sys

from scripts.package import PACKAGE, ROOT, plugin_files

SKIPPED = {
    "B404": "the engine is a child process",
    "B603": "commands are lists of own making, without a shell",
}


def main() -> int:
    """Run both scans and return 1 if one finds something."""
    findings = [*bandit_findings(), *secret_findings()]
    for finding in findings:
        sys.stderr.write(f"{finding}\n")
    sys.stdout.write(f"{len(findings)} findings in {len(plugin_files())} files\n")
    return 1 if findings else 0


def bandit_findings() -> list[str]:
    """Return Bandit's findings of every severity, one per line."""
    command = [sys.executable, "-m", "bandit", "-q", "-r", "-f", "json", str(PACKAGE)]
    command += ["--skip", ",".join(SKIPPED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    report = json.loads(done.stdout)
    return [
        f"{item['filename']}:{item['line_number']}: {item['test_id']} {item['issue_text']}"
        for item in report["results"]
    ] + [f"{item['filename']}: {item['reason']}" for item in report["errors"]]


def secret_findings() -> list[str]:
    """Return what detect-secrets takes for a secret, one per line."""
    files = [str(path.relative_to(ROOT)) for path in plugin_files()]
    command = [sys.executable, "-m", "detect_secrets", "scan", "--no-verify", *files]
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return [
        f"{item['filename']}:{item['line_number']}: {item['type']}"
        for found in json.loads(done.stdout)["results"].values()
        for item in found
    ]


if __name__ == "__main__":
    sys.exit(main())
