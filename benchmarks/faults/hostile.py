"""Messages, jobs and files that nobody means well."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .engine import Outcome, engine, make_job, write_picture

_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -1e308, 2**63, 10**400, "", " ", "\x00", "\ud800", "../../etc/passwd",
    "/dev/null", "/dev/zero", "🏠" * 300, "a" * 100_000, [], {}, [[]], {"": ""}, [None] * 3,
    float("nan"), float("inf"), "NaN", "1e999", "; ; ;", "=#ffffff", "{}", "<x/>", "\u202e", "%s%n",
)  # fmt: skip


def messages(count: int, seed: int) -> Outcome:
    """Send malformed lines; the engine must answer a greeting after each."""
    outcome = Outcome("malformed messages")
    chance = random.Random(seed)
    with engine() as process:
        for line in _lines(chance, count):
            sent = process.write(line.replace(b"\n", b" "))
            answer = process.call("hello", {}) if sent else None
            outcome.check(answer is not None, f"no greeting after {line[:80]!r}")
            if not process.alive:
                break
    return outcome


def _lines(chance: random.Random, count: int) -> Iterator[bytes]:
    request = {"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}}
    for number in range(count):
        kind = number % 8
        if kind == 0:
            yield chance.randbytes(chance.randint(1, 2000))
        elif kind == 1:
            depth = chance.choice([10, 1000, 20_000])
            yield b"[" * depth + b"]" * chance.choice([0, depth])
        elif kind == 2:
            yield json.dumps({**request, "id": chance.choice(_ODD)}).encode()
        elif kind == 3:
            yield json.dumps({**request, "params": chance.choice(_ODD), "id": "x"}).encode()
        elif kind == 4:
            yield json.dumps({**request, "method": chance.choice(_ODD), "id": "y"}).encode()
        elif kind == 5:
            whole = json.dumps(request).encode()
            yield whole[: chance.randint(0, len(whole))]
        elif kind == 6:
            yield b'{"jsonrpc":"2.0","id":' + b"9" * chance.choice([20, 400, 5000]) + b"}"
        else:
            text = "".join(chance.choices(string.printable, k=200)).replace("\n", "")
            yield json.dumps({**request, "jsonrpc": text}).encode()


def jobs(count: int, seed: int, folder: Path) -> Outcome:
    """Send jobs with a wrong value somewhere; each must get a sentence that says what is wrong."""
    outcome = Outcome("hostile jobs")
    chance = random.Random(seed)
    # The raster is missing, so that a job in good form ends there.
    base = make_job(folder / "missing.tif", folder)
    with engine() as process:
        for _ in range(count):
            job = _spoilt(chance, base)
            answer = process.call("run", job)
            error = (answer or {}).get("error") or {}
            code = (error.get("data") or {}).get("code")
            fine = answer is not None and code != "internal" and "result" not in answer
            outcome.check(fine, f"{code or 'no answer'}: {json.dumps(job)[:120]}")
            if not process.alive:
                break
    outcome.check(list(folder.iterdir()) == [], "a hostile job has written a file")
    return outcome


def _spoilt(chance: random.Random, job: dict[str, Any]) -> dict[str, Any]:
    """Return a job with one to three members replaced, removed or added."""
    copy: dict[str, Any] = json.loads(json.dumps(job))
    for _ in range(chance.randint(1, 3)):
        place: Any = copy
        while True:
            key = chance.choice(list(place)) if isinstance(place, dict) and place else None
            if key is not None and isinstance(place[key], dict) and chance.random() < 0.7:
                place = place[key]
                continue
            break
        if not isinstance(place, dict):
            continue
        action = chance.random()
        if action < 0.7 and key is not None:
            place[key] = chance.choice(_ODD)
        elif action < 0.85 and key is not None:
            del place[key]
        else:
            place[chance.choice(["threshold", "grid", "minimum_score", "x"])] = chance.choice(_ODD)
    return copy


def files(seed: int, folder: Path, count: int = 40) -> Outcome:
    """Give files that are no rasters, or damaged ones, as imagery."""
    outcome = Outcome("hostile rasters")
    chance = random.Random(seed)
    good = write_picture(folder / "good.tif", 80).read_bytes()
    with engine() as process:
        for number in range(count):
            path = folder / f"hostile{number}{chance.choice(['.tif', '.vrt', '.png', '.gpkg', ''])}"
            path.write_bytes(_content(chance, number, good, path))
            answer = process.call("bounds", {"uri": str(path)})
            error = (answer or {}).get("error") or {}
            code = (error.get("data") or {}).get("code")
            outcome.check(answer is not None and code != "internal", f"{code}: {path.name}")
            path.unlink()
            if not process.alive:
                break
    return outcome


def _content(chance: random.Random, number: int, good: bytes, path: Path) -> bytes:
    kind = number % 6
    if kind == 0:
        return chance.randbytes(chance.randint(0, 5000))
    if kind == 1:
        return good[: chance.randint(0, len(good))]
    if kind == 2:
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 200)):
            damaged[chance.randrange(min(len(damaged), 1000))] = chance.randrange(256)
        return bytes(damaged)
    if kind == 3:
        side = chance.choice([-1, 0, 2**31 - 1, 10**30])
        return f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"/>'.encode()
    if kind == 4:
        source = f"<SimpleSource><SourceFilename>{path}</SourceFilename></SimpleSource>"
        band = f'<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand>'
        return f'<VRTDataset rasterXSize="9" rasterYSize="9">{band}</VRTDataset>'.encode()
    return b"<" * chance.randint(1, 3000)
