"""How long every preset takes on this machine, side by side, without downloading any.

The real architectures get random values: the time is that of the published weights, the answers
are nonsense. One preset is in memory at a time.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import gc
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geoseg_qgis.engine.hardware import release_memory
from geoseg_qgis.engine.inference.windows import plan_tiles
from geoseg_qgis.engine.methods.open_vocabulary import fast
from geoseg_qgis.engine.methods.open_vocabulary.gumix import window as gumix
from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.engine.models import device as devices
from geoseg_qgis.engine.models.memory import (
    MEBIBYTE,
    MemoryEstimate,
    estimate_memory,
    fits,
    free_memory,
    needed_components,
)
from geoseg_qgis.engine.models.memory_probes import (
    GUMIX_POINTS,
    INSTRUCTION_WORDS,
    QUERIES,
    SELECTION_POINTS,
    CardNetworks,
)
from geoseg_qgis.engine.models.sam2 import MaskChoice
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue
from geoseg_qgis.protocol.errors import ErrorCode, JobError

ROOT = Path(__file__).resolve().parent.parent
SIDE = 512
PROMPTS = 8
SPREAD = 0.02


@dataclasses.dataclass(frozen=True)
class Row:
    """One preset with one method on one device; times in seconds, None where not measured.

    Attributes:
        encode: One window, or one tile, through the encoders.
        decode: One prompt, request or mask on an encoded tile.
        tile: ``SIDE`` x ``SIDE`` pixels, summed up from the parts.
        note: Why there are no times.
    """

    preset: str
    method: str
    device: str
    parameters: float
    memory: float
    encode: float | None = None
    decode: float | None = None
    tile: float | None = None
    note: str = ""


class Stopwatch:
    """Takes the best of repeated runs, which other programs disturb least.

    Args:
        device: Waited for after each run.
        seconds: How long to repeat; at least one run counts beside the first, which warms up.
    """

    def __init__(self, device: torch.device, seconds: float) -> None:
        self._device = device
        self._seconds = seconds

    def time(self, action: Callable[[], object]) -> float:
        """Return the least seconds of ``action``."""
        self._once(action)
        times = [self._once(action)]
        while sum(times) < self._seconds:
            times.append(self._once(action))
        return min(times)

    def _once(self, action: Callable[[], object]) -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            action()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - began


class Bench:
    """The networks of one preset with random values.

    Args:
        preset: The preset.
        method: Its method to measure.
        device: Where.
        seconds: How long each measurement repeats.
    """

    def __init__(self, preset: Preset, method: str, device: torch.device, seconds: float) -> None:
        self._card = preset.card
        self._device = device
        self._watch = Stopwatch(device, seconds)
        self._networks = CardNetworks(preset.card, device, preset.folder)
        for name in needed_components(preset.card, method):
            module = self._networks.module(name)
            if module is None:
                raise JobError(ErrorCode.MODEL_INVALID, f"{name} is not measured", "")
            fill(module, device)

    def measure(self, method: str) -> tuple[float, float | None, float]:
        """Return the seconds of encoding, decoding and a tile."""
        return {
            "fast": self._fast,
            "mask_selection": self._mask_selection,
            "gumix": self._gumix,
            "sam2": self._sam2,
            "clicks": self._sam2,
            "segassess": self._segassess,
            "unigeoseg": self._unigeoseg,
        }[method]()

    def _fast(self) -> tuple[float, float | None, float]:
        clip, settings = self._networks.clip, fast.FastSettings()
        patch = int(clip.visual.patch_size[0])
        side = -(-settings.window // patch) * patch
        images, text = self._images(side), self._text(clip)
        encode = self._watch.time(lambda: fast.window_logits(clip, images, text, settings))
        return encode, None, encode * self._dense_windows((1.0,))

    def _gumix(self) -> tuple[float, float | None, float]:
        settings = GumixSettings.geo().with_overrides(dict(self._card.gumix))
        clip, dino, side = self._networks.clip, self._networks.dino, settings.window
        images, text = self._images(side), self._text(clip)
        columns = torch.arange(side, device=self._device) // (side // 8)
        regions = (1 + columns + 8 * columns[:, None])[None]
        encode = self._watch.time(
            lambda: gumix.window_logits(clip, dino, images, regions, text, settings=settings)
        )
        count = sum(windows(side, settings.stride, scale) for scale in settings.scales)
        if self._card.sam2 is None:
            return encode, None, encode * count
        tile, prompt, _ = self._sam2()
        points = self._card.gumix.get("proposals", {}).get("points_per_side", GUMIX_POINTS)
        return encode, prompt, encode * count + tile + prompt * points**2

    def _dense_windows(self, scales: Sequence[float]) -> int:
        settings, patch = fast.FastSettings(), int(self._networks.clip.visual.patch_size[0])
        side = -(-settings.window // patch) * patch
        return sum(windows(side, settings.stride, scale) for scale in scales)

    def _mask_selection(self) -> tuple[float, float | None, float]:
        encode, _, _ = self._fast()
        component = self._card.clip
        dense = encode * self._dense_windows((1.0,) if component is None else component.scales)
        if self._card.sam2 is None:
            return encode, None, dense
        tile, prompt, _ = self._sam2()
        return encode, prompt, dense + tile + prompt * SELECTION_POINTS**2

    def _sam2(self) -> tuple[float, float, float]:
        level = torch.ones(1, 3, 1, 1, device=self._device)
        model = dataclasses.replace(
            self._networks.sam2,
            mean=level,
            std=level,
            device=self._device,
            dtype=devices.default_dtype(self._device, "sam2"),
        )
        images = self._images(model.image_size)
        encode = self._watch.time(lambda: model.encode(images))
        embedding = model.encode(images)
        shared = model.share(embedding)
        points = torch.linspace(1, model.image_size - 1, 2 * PROMPTS).reshape(PROMPTS, 1, 2)
        decode = self._watch.time(
            lambda: model.predict(
                embedding,
                points=points,
                labels=torch.ones(PROMPTS, 1, dtype=torch.int32),
                choice=MaskChoice.SINGLE,
                shared=shared,
            )
        )
        return encode, decode / PROMPTS, encode + decode / PROMPTS

    def _segassess(self) -> tuple[float, float | None, float]:
        network = self._networks.segassess
        images = self._images(SIDE)
        masks = (images[:, :1] > 0.5).float()
        dtype = devices.default_dtype(self._device, "segassess")
        enabled = dtype is not torch.float32
        with torch.autocast(self._device.type, dtype=dtype, enabled=enabled):
            encode = self._watch.time(lambda: network.image_encoder(images))
            whole = self._watch.time(lambda: network(images, masks))
        return encode, max(whole - encode, 0.0), whole

    def _unigeoseg(self) -> tuple[float, float | None, float]:
        network = self._networks.unigeoseg
        network.model.rebuild_rotary_tables(self._device)
        width = network.config.language.hidden_size
        images = self._images(network.config.vision.image_size)
        words = torch.zeros(1, INSTRUCTION_WORDS, width, device=self._device)
        query = torch.zeros(1, 1, network.config.segmentation.width, device=self._device)
        known = torch.ones(1, INSTRUCTION_WORDS, dtype=torch.bool, device=self._device)

        def read() -> Any:
            features = network.encode_image(images)
            return features, network.model.remember(features.words)

        with torch.inference_mode():
            features, memory = read()

        def answer() -> object:
            network.model.continue_from(memory, words, known)
            return network.predictor(features.pixels, query)

        encode, decode = self._watch.time(read), self._watch.time(answer)
        return encode, decode, encode + decode

    def _images(self, side: int) -> Tensor:
        return torch.rand(1, 3, side, side, device=self._device)

    def _text(self, clip: Any) -> Tensor:
        rows = torch.rand(QUERIES, int(clip.visual.output_dim), device=self._device)
        return nn.functional.normalize(rows, dim=-1)


def windows(side: int, stride: int, scale: float = 1.0) -> int:
    """Return how many windows cover a tile at a scale."""
    return len(plan_tiles(round(SIDE * scale), round(SIDE * scale), side, side - stride))


def fill(module: nn.Module, device: torch.device) -> None:
    """Give a module of the meta device small random values on a real one."""
    module.to_empty(device=device).requires_grad_(requires_grad=False)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(-SPREAD, SPREAD)
            else:
                tensor.zero_()
    for part in module.modules():
        if hasattr(part, "periods"):
            # Random rotary periods would make angles of any size.
            rope: Any = part
            rope.reset_parameters()


def measure(preset: Preset, method: str, device: torch.device, seconds: float) -> Row:
    """Return the row of one preset, with a reason where nothing could be measured."""
    card = preset.card
    try:
        estimate = estimate_memory(card, device, method=method, folder=preset.folder)
        blank = blank_row(preset, method, device, estimate)
        if not fits(estimate, device):
            free = (free_memory(device) or 0) / MEBIBYTE
            return dataclasses.replace(blank, note=f"does not fit into {free:.0f} MB")
        encode, decode, tile = Bench(preset, method, device, seconds).measure(method)
    except (JobError, RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Row(card.name, method, device.type, 0.0, 0.0, note=reason)
    finally:
        gc.collect()
        release_memory()
    return dataclasses.replace(blank, encode=encode, decode=decode, tile=tile)


def blank_row(preset: Preset, method: str, device: torch.device, estimate: MemoryEstimate) -> Row:
    """Return a row without times."""
    networks = CardNetworks(preset.card, device, preset.folder)
    modules = [networks.module(name) for name in needed_components(preset.card, method)]
    count = sum(tensor.numel() for module in modules if module for tensor in module.parameters())
    return Row(preset.card.name, method, device.type, count / 1e6, estimate.total / MEBIBYTE)


def compared(rows: Sequence[Row], builtin: Sequence[str]) -> list[dict[str, str]]:
    """Return rows as text, with the times relative to the built-in preset of the same method."""
    base = {(row.method, row.device): row.tile for row in rows if row.preset in builtin}
    lines = []
    for row in rows:
        own = base.get((row.method, row.device))
        lines.append(
            {
                "preset": row.preset,
                "method": row.method,
                "device": row.device,
                "parameters (M)": f"{row.parameters:.1f}",
                "memory (MB)": f"{row.memory:.0f}",
                "encode (ms)": milliseconds(row.encode),
                "decode (ms)": milliseconds(row.decode),
                "tile (s)": "" if row.tile is None else f"{row.tile:.2f}",
                "times built-in": "" if not own or row.tile is None else f"{row.tile / own:.1f}",
                "note": row.note,
            }
        )
    return lines


def milliseconds(seconds: float | None) -> str:
    """Return a time as text."""
    return "" if seconds is None else f"{seconds * 1000:.1f}"


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
        f"Random weights on {devices.processor_name()}. Encode: one window or tile. Decode: one "
        f"prompt, request or mask. Tile: {SIDE} x {SIDE} pixels, summed up from these."
        f"{disturbance()}"
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
        if names and preset.card.name not in names and preset.origin is not Origin.BUILT_IN:
            continue
        for method in preset.card.methods:
            # The two ask the same of the same network.
            known = method != "clicks" or "sam2" not in preset.card.methods
            if known and (not methods or method in methods):
                yield preset, method


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)  # noqa: PTH105


def main() -> int:
    """Measure, write ``models.md`` and ``models.csv``, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=[], help="names; built-in ones are added")
    parser.add_argument("--methods", nargs="+", default=[], help="methods; all by default")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--devices", nargs="+", default=[], help="cpu, cuda; all by default")
    parser.add_argument("--output", type=Path, default=ROOT / "bench")
    options = parser.parse_args()
    names = options.devices or ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    rows, builtin = [], []
    for preset, method in wanted(options.presets, options.methods):
        if preset.origin is Origin.BUILT_IN:
            builtin.append(preset.card.name)
        for name in names:
            row = measure(preset, method, torch.device(name), options.seconds)
            rows.append(row)
            took = row.note or f"{row.tile or 0:.2f} s a tile"
            sys.stderr.write(f"{row.preset} {method} on {name}: {took}\n")
    if not rows:
        sys.stderr.write("No preset has these names and methods.\n")
        return 1
    lines = compared(rows, builtin)
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "models.md", as_markdown(lines))
    write(options.output / "models.csv", as_csv(lines))
    sys.stdout.write(as_markdown(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
