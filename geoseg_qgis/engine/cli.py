"""The engine's command line: the same jobs without QGIS.

Exit status: 0 done, 1 the job failed or models are damaged, 2 wrong arguments, 130 cancelled with
Ctrl+C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.result import Result

from .arguments import add_job_commands, job_from_arguments
from .failures import as_job_error
from .files import refuse_endless
from .terminal import TerminalReporter, format_result, format_table

CANCELLED = 130


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status."""
    options = build_parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "devices": _list_devices,
    }
    return commands.get(options.command, _do_job)(options)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, a command for each kind of job and a few more."""
    parser = argparse.ArgumentParser(
        prog="geoseg", description="Segmentation of any raster, without QGIS."
    )
    parser.add_argument("--version", action="version", version=PLUGIN_VERSION)
    parser.set_defaults(json=False, debug=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="Do a job that was saved as JSON")
    run.add_argument("job", help="JSON file, or - for standard input.")
    add_job_commands(commands)
    commands.add_parser("devices", help="List the devices that models can run on")
    commands.add_parser("serve", help="Serve jobs over standard input and output")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="Print the result as JSON.")
        command.add_argument("--debug", action="store_true", help="Show the details of an error.")
    return parser


def _do_job(options: argparse.Namespace) -> int:
    reporter = TerminalReporter()
    try:
        job = _read_job(options.job) if options.command == "run" else job_from_arguments(options)
        if getattr(options, "print_job", False):
            sys.stdout.write(json.dumps(job.to_json(), indent=2, ensure_ascii=False) + "\n")
            return 0
        result = _run(job, reporter)
    except CancelledError as error:
        reporter.fail(error)
        return CANCELLED
    except Exception as error:  # noqa: BLE001  shown as a sentence, in full with --debug
        failure = as_job_error(error)
        reporter.fail(failure)
        if failure.detail and (options.debug or failure.code is ErrorCode.INTERNAL):
            sys.stderr.write(failure.detail + "\n")
        return 1
    finally:
        reporter.close()
    _print_result(result, options.json)
    return 1 if result.numbers.get("DAMAGED_COUNT") else 0


def _read_job(path: str) -> Job:
    try:
        if path != "-":
            refuse_endless(path)
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        # json tells UTF-8, UTF-16 and UTF-32 apart: Windows PowerShell writes > in UTF-16.
        return Job.from_json(json.loads(content))
    except OSError as error:
        raise JobError(
            ErrorCode.INVALID_JOB, f"The job {path} cannot be read.", "Check its path.", str(error)
        ) from error
    except ValueError as error:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"The job {path} is not JSON: {error}.",
            "Make a job with --print-job and change that.",
        ) from error


def _run(job: Job, reporter: TerminalReporter) -> Result:
    from .jobs.registry import run_job  # noqa: PLC0415
    from .progress import JobContext  # noqa: PLC0415  --help must not wait for it

    cancelled = threading.Event()

    def cancel(number: int, frame: FrameType | None) -> None:
        """Ask once, and let a second signal end the process."""
        del frame
        cancelled.set()
        signal.signal(number, signal.SIG_DFL)

    # Batch schedulers end a job with SIGTERM.
    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return run_job(job, JobContext(reporter.progress, reporter.log, cancelled.is_set))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_result(result: Result, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result.to_json(), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(format_result(result) + "\n")


def _list_devices(options: argparse.Namespace) -> int:
    from .models.device import list_devices  # noqa: PLC0415  imports torch

    devices = list_devices()
    if options.json:
        sys.stdout.write(json.dumps(devices, indent=2) + "\n")
        return 0
    rows = [("device", "free GB", "name", "problem")]
    for device in devices:
        free = "" if device["free"] is None else f"{device['free'] / 2**30:.1f}"
        rows.append((device["device"], free, device["name"], device["problem"]))
    sys.stdout.write("\n".join(format_table(rows)) + "\n")
    return 0
