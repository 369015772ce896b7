"""``python -m geoseg_qgis.engine_client.setup``: create or repair the engine's environment."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import List, Optional

from ..protocol.errors import CancelledError, JobError
from .install import install_engine
from .locate import default_destination


def main(arguments: Optional[List[str]] = None) -> int:
    """Install the engine, print its Python and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="geoseg setup", description="Create or repair the engine's environment."
    )
    parser.add_argument("--destination", type=Path, default=None, help="folder of the environment")
    parser.add_argument("--also", type=Path, action="append", default=[], help="another lock file")
    options = parser.parse_args(arguments)
    cancelled = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: cancelled.set())
    last = ""

    def report(fraction: float, text: str) -> None:
        nonlocal last
        if text != last:
            sys.stderr.write(f"[{fraction:4.0%}] {text}\n")
            sys.stderr.flush()
            last = text

    try:
        destination = options.destination or default_destination()
        location = install_engine(destination, report, cancelled.is_set, options.also)
    except CancelledError as error:
        sys.stderr.write(f"{error}\n")
        return 130
    except JobError as error:
        sys.stderr.write(f"{error}\n{error.detail}\n")
        return 1
    sys.stdout.write(f"{location.python}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
