"""What users wait for: the engine's start, the first use of PyTorch, the way there and back."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from geoseg_qgis.engine_client import EngineClient, EngineLocation  # noqa: E402

ROUNDS = 5


def main() -> int:
    """Print one line a measurement: median and extremes in milliseconds."""
    starts, imports, trips = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            client = EngineClient(EngineLocation(sys.executable, "setting"), Path(folder) / "log")
            try:
                starts.append(elapsed(client.start))
                imports.append(elapsed(client.status))
                trips += [elapsed(client.status) for _ in range(20)]
            finally:
                client.close()
    for name, seconds in (("start", starts), ("first status", imports), ("status", trips)):
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        sys.stdout.write(f"{name:14}{middle:9.4f} s  ({low:.4f} to {high:.4f})\n")
    return 0


def elapsed(action: Callable[[], object]) -> float:
    """Return the seconds that ``action`` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
