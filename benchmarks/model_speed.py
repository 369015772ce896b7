"""Time and memory of every preset on this machine, side by side, without downloading any.

Presets whose files are here run as they are; the others get random weights at their real
architecture: time and memory are those of the published weights, the results are nonsense. Each
preset and method runs in a process of its own, as a job of the engine on one generated image.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio
import torch

from benchmarks.random_presets import card_path, write_random_preset
from geoseg_qgis.engine.files import draft
from geoseg_qgis.engine.models.device import MALLOC_SETTINGS, processor_name
from geoseg_qgis.engine.models.memory import free_memory, required_memory
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue
from geoseg_qgis.protocol.errors import JobError
from training.scenes import write_scene

ROOT = Path(__file__).resolve().parent.parent

# Windows of every method make at least one full batch on an image of this side.
SIDE = 512
PROMPTS_PER_SIDE = 4
CLASSES = "building, roof, house; road; tree, forest; water"
INSTRUCTION = "the large building on the left"

# Numbers in cards are rounded up to this many bytes, so that they hold for another run.
STEP = 10_000_000


@dataclasses.dataclass(frozen=True)
class Row:
    """One preset with one method on one device.

    Attributes:
        peak: Most bytes that the process held during the first run; None when it did not run.
        seconds: Time of one image with networks loaded; None when not measured.
        note: Why there are no numbers.
    """

    preset: str
    method: str
    device: str
    peak: int | None = None
    seconds: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A generated image, points and a mask on it, and where results go."""

    image: Path
    points: Path
    mask: Path
    output: Path

    @classmethod
    def generate(cls, folder: Path) -> Inputs:
        """Write the inputs into a folder."""
        inputs = cls(*(folder / name for name in ("i.tif", "points.geojson", "m.tif", "out.tif")))
        write_scene(inputs.image, seed=7, size=SIDE)
        with rasterio.open(inputs.image) as source:
            places = (np.arange(PROMPTS_PER_SIDE) + 0.5) * SIDE / PROMPTS_PER_SIDE
            points = [source.xy(row, column) for row in places for column in places]
            grey = source.read().mean(axis=0)
            profile = {**source.profile, "count": 1, "dtype": "uint8", "photometric": "MINISBLACK"}
            crs = source.crs.to_string()
        features = [
            {
                "type": "Feature",
                "properties": {},
                "geometry": {"type": "Point", "coordinates": [float(x), float(y)]},
            }
            for x, y in points
        ]
        name = {"type": "name", "properties": {"name": crs}}
        collection = {"type": "FeatureCollection", "crs": name, "features": features}
        inputs.points.write_text(json.dumps(collection), encoding="utf-8")
        with rasterio.open(inputs.mask, "w", **profile) as mask:
            mask.write((grey > grey.mean()).astype(np.uint8), 1)
        return inputs

    def command(self, method: str) -> list[str]:
        """Return the engine's command for a method, empty when no job runs it yet."""
        images = ["--input", str(self.image), "--output", str(self.output), "--method", method]
        commands = {
            "gumix": ["openvocabulary", "--classes", CLASSES],
            "mask_selection": ["openvocabulary", "--classes", CLASSES],
            "fast": ["openvocabulary", "--classes", CLASSES],
            "sam2": ["prompts", "--prompts", str(self.points)],
            "unigeoseg": ["refer", "--instruction", INSTRUCTION],
            "segassess": ["assess", "--mask", str(self.mask)],
        }
        return [*commands[method], *images] if method in commands else []


def measure(preset: Preset, method: str, device: str, inputs: Inputs, repeats: int) -> Row:
    """Return the row of one preset, with a note where nothing could be measured."""
    row = Row(preset.card.name, method, device)
    command = inputs.command(method)
    if not command:
        return dataclasses.replace(row, note=f"no job runs {method} yet")
    free = free_memory(torch.device(device))
    if free is not None and required_memory(preset, method, torch.device(device).type) > free:
        return dataclasses.replace(row, note=f"does not fit into {free / 1e9:.1f} GB")
    with tempfile.TemporaryDirectory() as temporary:
        model = str(preset.folder) if preset.origin is Origin.USER else preset.card.name
        if not preset.is_ready(method):
            model = temporary
            try:
                write_random_preset(preset, method, Path(temporary))
            except JobError as error:
                return dataclasses.replace(row, note=error.message)
        return run([*command, "--model", model, "--device", device], row, repeats)


def run(command: Sequence[str], row: Row, repeats: int) -> Row:
    """Run a command of the engine in a process of its own and return the row with its numbers."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.timed_run", "--repeats", str(repeats), *command],
        cwd=ROOT,
        env={**os.environ, **MALLOC_SETTINGS},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return dataclasses.replace(row, note=lines[-1] if lines else f"status {done.returncode}")
    facts = json.loads(done.stdout.splitlines()[-1])
    return dataclasses.replace(row, peak=facts["peak"], seconds=facts["seconds"])


def write_memory(preset: Preset, method: str, peak: int) -> None:
    """Write a measured number into the preset's card."""
    path = card_path(preset)
    text = path.read_text(encoding="utf-8")
    card = json.loads(text)
    memory = {**card.get("memory", {}), method: -(-peak // STEP) * STEP}
    order = card["methods"]
    card["memory"] = {name: memory[name] for name in order if name in memory}
    indent = 1 if text.startswith('{\n "') else 2
    with draft(path) as unfinished:
        content = json.dumps(card, indent=indent, ensure_ascii=False)
        unfinished.write_text(content + "\n", encoding="utf-8")


def compared(rows: Sequence[Row], builtin: Sequence[str]) -> list[dict[str, str]]:
    """Return rows as text, with the times relative to the built-in preset of the same method."""
    base = {(row.method, row.device): row.seconds for row in rows if row.preset in builtin}
    lines = []
    for row in rows:
        own = base.get((row.method, row.device))
        lines.append(
            {
                "preset": row.preset,
                "method": row.method,
                "device": row.device,
                "memory (GB)": "" if row.peak is None else f"{row.peak / 1e9:.2f}",
                "image (s)": "" if row.seconds is None else f"{row.seconds:.2f}",
                "times built-in": f"{row.seconds / own:.1f}" if own and row.seconds else "",
                "note": row.note,
            }
        )
    return lines


def disturbance() -> str:
    """Return a sentence when other programs kept the processor busy, as far as the system says."""
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy <= torch.get_num_threads() + 0.5:
        return ""
    return f" Other programs disturbed the times: the load was {busy:.1f}."


def as_markdown(lines: Sequence[dict[str, str]]) -> str:
    """Return a table with the machine it was measured on."""
    names = list(lines[0])
    table = [names, ["---"] * len(names), *([line[name] for name in names] for line in lines)]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
    head = (
        f"{processor_name()}. Memory: the engine's process at its fullest (main memory alone). "
        f"Image: {SIDE} x {SIDE} pixels, networks loaded.{disturbance()}"
    )
    return f"{head}\n\n{rows}\n"


def as_csv(lines: Sequence[dict[str, str]]) -> str:
    """Return the table as comma-separated values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def wanted(names: Sequence[str], methods: Sequence[str]) -> Iterator[tuple[Preset, str]]:
    """Yield presets with their methods, the built-in ones first."""
    order = sorted(
        catalogue().presets.values(),
        key=lambda preset: (preset.origin is not Origin.BUILT_IN, preset.card.name),
    )
    for preset in order:
        if names and preset.card.name not in names:
            continue
        for method in preset.card.methods:
            if not methods or method in methods:
                yield preset, method


def main() -> int:
    """Measure, write ``models.md`` and ``models.csv``, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=[], help="names; all by default")
    parser.add_argument("--methods", nargs="+", default=[], help="methods; all by default")
    parser.add_argument("--repeats", type=int, default=2, help="timed runs; 0 for memory alone")
    parser.add_argument("--devices", nargs="+", default=[], help="cpu, cuda; all by default")
    parser.add_argument("--output", type=Path, default=ROOT / "bench")
    parser.add_argument(
        "--write-memory", action="store_true", help="write the memory on cpu into the cards"
    )
    options = parser.parse_args()
    devices = options.devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows, builtin = [], []
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Inputs.generate(Path(temporary))
        for preset, method in wanted(options.presets, options.methods):
            if preset.origin is Origin.BUILT_IN:
                builtin.append(preset.card.name)
            for device in devices:
                row = measure(preset, method, device, inputs, options.repeats)
                rows.append(row)
                peak = row.note or f"{(row.peak or 0) / 1e9:.2f} GB"
                sys.stderr.write(f"{row.preset} {method} on {device}: {peak}\n")
                if options.write_memory and device == "cpu" and row.peak is not None:
                    write_memory(preset, method, row.peak)
    if not rows:
        sys.stderr.write("No preset has these names and methods.\n")
        return 1
    lines = compared(rows, builtin)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in (("models.md", as_markdown(lines)), ("models.csv", as_csv(lines))):
        with draft(options.output / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    sys.stdout.write(as_markdown(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
