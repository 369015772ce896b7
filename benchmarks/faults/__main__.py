"""Try faults and write docs/reliability.md. Runs as an ordinary user, never as root.

Example:
    python -m benchmarks.faults --only messages --count 500
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from geoseg_qgis.protocol import PLUGIN_VERSION

from . import hostile, runs
from .engine import ROOT, Outcome, write_picture

PAGE = ROOT / "docs" / "reliability.md"
RECORD = Path(tempfile.gettempdir()) / "geoseg-faults.json"
MEMORY = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0]
FAULTS: dict[str, tuple[int, Callable[[int, int, Path, Path], Outcome]]] = {
    "messages": (500, lambda count, seed, _picture, _folder: hostile.messages(count, seed)),
    "jobs": (500, lambda count, seed, _picture, folder: hostile.jobs(count, seed, folder)),
    "files": (200, lambda count, seed, _picture, folder: hostile.files(seed, folder, count)),
    "kills": (100, runs.kills),
    "small-files": (12, runs.small_files),
    "full-disk": (12, runs.full_disk),
    "memory": (
        len(MEMORY),
        lambda count, _seed, picture, folder: runs.memory(MEMORY[:count], picture, folder),
    ),
    "together": (3, lambda count, _seed, picture, folder: runs.together(count, picture, folder)),
}


def main() -> int:
    """Try the faults that were asked for and write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.faults", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--count", type=int, help="Tries of each fault.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if os.geteuid() == 0:
        return _as_ordinary_user()
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="geoseg-faults-") as place:
        os.environ["GEOSEG_SCRATCH"] = place
        picture = write_picture(Path(place) / "picture.tif")
        for name in options.only:
            usual, run = FAULTS[name]
            folder = Path(place) / name
            folder.mkdir()
            outcome = run(options.count or usual, options.seed, picture, folder)
            found[name] = vars(outcome)
            sys.stderr.write(f"{outcome.fault}: {outcome.tried} tried, ")
            sys.stderr.write(f"{len(outcome.failures)} failed. {outcome.skipped}\n")
            for failure in outcome.failures:
                sys.stderr.write(f"  {failure}\n")
            shutil.rmtree(folder, ignore_errors=True)
    _write(found, options.results)
    return 1 if any(item["failures"] for item in found.values()) else 0


def _write(found: dict[str, dict[str, object]], results: Path | None) -> None:
    """Write the page, or the results for the process that may."""
    if results is not None:
        results.write_text(json.dumps(found), encoding="utf-8")
    else:
        write_page(found)


def _as_ordinary_user() -> int:
    """Do the same as the user nobody, who may write nothing but a folder of its own."""
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="geoseg-home-") as home:
        os.chown(home, user.pw_uid, user.pw_gid)
        results = Path(home) / "results.json"
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.environ.update(HOME=home, TMPDIR=home, USER="nobody")
            command = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
            os.execv(sys.executable, [*command, "--results", str(results)])
        _, status = os.waitpid(child, 0)
        if results.exists():
            write_page(json.loads(results.read_text(encoding="utf-8")))
    return os.waitstatus_to_exitcode(status)


def write_page(found: dict[str, dict[str, object]]) -> None:
    """Write docs/reliability.md; faults that were not tried this time keep their row."""
    known = _rows()
    for name, item in found.items():
        failures: list[str] = item["failures"]  # type: ignore[assignment]
        result = str(len(failures))
        if item["skipped"]:
            result = f"not tried: {item['skipped']}"
        known[name] = f"| {name} | {item['fault']} | {item['tried']} | {result} |"
    rows = "\n".join(known[name] for name in FAULTS if name in known)
    PAGE.write_text(
        "# Reliability\n\n"
        "Deliberate faults, tried on the real engine by `make faults` as an ordinary user. A try "
        "counts as failed\nwhen there is no answer, the answer is no sentence that fits, a result "
        "is half-written or differs, or\nsomething is left behind. One part is repeated by "
        "`python -m benchmarks.faults --only kills --count 10`.\n\n"
        f"| name | fault | checks | failed |\n|---|---|---|---|\n{rows}\n\n"
        f"Version {PLUGIN_VERSION}. A run that is killed, or whose disk is full, goes on where it "
        "stopped; see\n[architecture.md](architecture.md). Servers that send wrong, cut, endless "
        "or slow files are in\n`tests/engine/zoo/test_transfer.py` and `test_download.py`, on a "
        "server of their own. A short part of this\nprogramme is "
        "`benchmarks/tests/test_faults.py`.\n",
        encoding="utf-8",
    )


def _rows() -> dict[str, str]:
    if not PAGE.exists():
        return {}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    return {name: line for name, line in cells.items() if name in FAULTS}


if __name__ == "__main__":
    sys.exit(main())
