"""Runs one command of the engine in this process and prints its peak memory and its seconds.

The last line of the output is a JSON object: ``peak``, bytes that the process held at most by the
end of the first run, and ``seconds``, the quickest of the further runs, networks loaded; null
without any.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from geoseg_qgis.engine.cli import main as run_engine


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="runs after the first")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="arguments of the engine")
    options = parser.parse_args()
    seconds = []
    peak = 0
    for number in range(1 + options.repeats):
        began = time.perf_counter()
        status = run_engine(options.command)
        if status:
            return status
        if number == 0:
            peak = peak_memory()
        else:
            seconds.append(time.perf_counter() - began)
    best = min(seconds) if seconds else None
    sys.stdout.write(json.dumps({"peak": peak, "seconds": best}) + "\n")
    return 0


def peak_memory() -> int:
    """Return the most bytes that this process ever held (Linux)."""
    # Not getrusage: its maximum includes what the parent held before this program replaced it.
    facts = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in facts.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
