"""Whole runs that are killed, starved of disk or memory, or started twice."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from .engine import Outcome, leftovers, make_job, pixels_of, start

_LIMIT = 600.0


def reference(picture: Path, folder: Path) -> tuple[bytes | None, float]:
    """Return the pixels of a run without any fault, and its seconds."""
    began = time.monotonic()
    start(make_job(picture, folder), folder).communicate(timeout=_LIMIT)
    return pixels_of(folder / "classes.tif"), time.monotonic() - began


def kills(count: int, seed: int, picture: Path, folder: Path) -> Outcome:
    """Kill runs at random moments; each goes on until it is done, with the same pixels."""
    outcome = Outcome("run killed at a random moment, then started again")
    whole = folder / "whole"
    whole.mkdir()
    expected, seconds = reference(picture, whole)
    chance = random.Random(seed)
    cut = folder / "cut"
    cut.mkdir()
    job = make_job(picture, cut)
    for number in range(count):
        process = start(job, cut)
        try:
            process.communicate(timeout=chance.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        found = cut / "classes.tif"
        whole_or_none = not found.exists() or pixels_of(found) == expected
        outcome.check(whole_or_none, f"kill {number} left a half-written result")
    process = start(job, cut)
    text, _ = process.communicate(timeout=_LIMIT)
    same = process.returncode == 0 and pixels_of(cut / "classes.tif") == expected
    outcome.check(same, f"the last run differs: {text[-200:]}")
    outcome.check(leftovers(cut) == [], f"left behind: {leftovers(cut)}")
    return outcome


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def small_files(count: int, seed: int, picture: Path, folder: Path) -> Outcome:
    """Let no file grow beyond a size, as a full disk or a quota does."""
    outcome = Outcome("files limited in size (as by a full disk)")
    chance = random.Random(seed)
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        size = int(2 ** chance.uniform(12, 22))
        process = start(make_job(picture, place), place, partial(_limit_files, size))
        text, _ = process.communicate(timeout=_LIMIT)
        said = process.returncode == 0 or "disk of" in text or "disk is full" in text
        outcome.check(said, f"{size} bytes: {text.strip()[-200:]}")
        done = pixels_of(place / "classes.tif") is not None
        fine = done if process.returncode == 0 else not (place / "classes.tif").exists()
        outcome.check(fine, f"{size} bytes: the result is not what was said")
        outcome.check(leftovers(place) == [], f"{size} bytes: left {leftovers(place)}")
    return outcome


def full_disk(count: int, seed: int, picture: Path, folder: Path) -> Outcome:
    """Run on small disks in memory, in a namespace of an ordinary user."""
    outcome = Outcome("full disk (tmpfs)")
    unshare = shutil.which("unshare")
    if unshare is None:
        outcome.skipped = "there is no unshare"
        return outcome
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    tried = subprocess.run([unshare, "-Urm", *mount], capture_output=True, text=True, check=False)
    if tried.returncode:
        outcome.skipped = f"no disk can be mounted here: {tried.stderr.strip()}"
        return outcome
    chance = random.Random(seed)
    for _ in range(count):
        size = int(2 ** chance.uniform(14, 24))
        process = start(make_job(picture, place), folder)
        process.kill()
        process.communicate()
        script = (
            'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && "$@"; status=$?; '
            'ls -A "$0" | grep "^[.]" ; exit $status'
        )
        command = [
            unshare, "-Urm", "sh", "-c", script, str(place), str(size), str(place),
            *map(str, process.args),  # type: ignore[arg-type]
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
        text = done.stdout + done.stderr
        full = "The disk of" in text or "The run needs" in text or "disk is full" in text
        outcome.check(done.returncode == 0 or full, f"{size} bytes: {text.strip()[-200:]}")
        outcome.check(".part" not in done.stdout, f"{size} bytes: a draft stayed")
    return outcome


def _limit_memory(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def memory(gigabytes: list[float], picture: Path, folder: Path) -> Outcome:
    """Run with little address space."""
    outcome = Outcome("little memory")
    for amount in gigabytes:
        place = folder / f"{amount}"
        place.mkdir()
        limit = partial(_limit_memory, int(amount * 2**30))
        process = start(make_job(picture, place), place, limit)
        text, _ = process.communicate(timeout=_LIMIT)
        said = process.returncode == 0 or "not enough memory" in text or "does not fit" in text
        outcome.check(said, f"{amount} GiB: exit {process.returncode}, {text.strip()[-160:]}")
        fine = process.returncode == 0 or not (place / "classes.tif").exists()
        outcome.check(fine, f"{amount} GiB: a result in spite of the error")
    return outcome


def together(count: int, picture: Path, folder: Path) -> Outcome:
    """Run the same job twice at once, into the same files."""
    outcome = Outcome("the same job twice at once")
    whole = folder / "whole"
    whole.mkdir()
    expected, _ = reference(picture, whole)
    for number in range(count):
        place = folder / str(number)
        place.mkdir()
        job = make_job(picture, place)
        pair = [start(job, place), start(job, place)]
        for process in pair:
            text, _ = process.communicate(timeout=_LIMIT)
            outcome.check(process.returncode == 0, text.strip()[-200:])
        outcome.check(pixels_of(place / "classes.tif") == expected, "the pixels differ")
        outcome.check(leftovers(place) == [], f"left behind: {leftovers(place)}")
    return outcome
