"""Writes docs/models.md from the cards of the models."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from geoseg_qgis.engine.models.memory import required_memory
from geoseg_qgis.engine.zoo.addresses import address_of, is_checkable
from geoseg_qgis.engine.zoo.card import ModelCard, WeightsFile
from geoseg_qgis.engine.zoo.registry import Origin, Preset, catalogue
from geoseg_qgis.engine.zoo.trust import may_be_trusted

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "models.md"
FRAME = ROOT / "scripts" / "model_page.md"
GROUPS = {
    "offline": "No network, any computer",
    "laptop": "A processor alone",
    "gpu-8gb": "A graphics card of 8 GB",
    "gpu-big": "A graphics card of 12 GB or more",
}
MARKER = "<!-- tables -->"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
    return 0


def page() -> str:
    """Return the page: the text of `FRAME` with the tables inserted."""
    presets = own_presets()
    tables = "\n".join([*_tables(presets), *_by_hand(presets)])
    return FRAME.read_text(encoding="utf-8").replace(MARKER, tables)


def own_presets() -> list[Preset]:
    """Return the presets of the package.

    Raises:
        JobError: ``MODEL_INVALID`` when a card cannot be read.
    """
    found = catalogue([Path("nowhere")])
    if found.problems:
        raise found.problems[0]
    return [preset for preset in found.presets.values() if preset.origin is not Origin.USER]


def _tables(presets: Iterable[Preset]) -> Iterator[str]:
    groups: dict[str, list[Preset]] = {name: [] for name in GROUPS}
    for preset in presets:
        usual = "offline" if preset.origin is Origin.BUILT_IN else "laptop"
        groups[preset.card.suits or usual].append(preset)
    for name, title in GROUPS.items():
        if not groups[name]:
            continue
        yield f"### {title}\n"
        yield "| model | methods | download | memory | licence |"
        yield "|---|---|---|---|---|"
        ordered = sorted(groups[name], key=lambda one: (one.card.methods[0], one.card.name))
        yield from map(_row, ordered)
        yield ""


def _row(preset: Preset) -> str:
    card = preset.card
    cells = (
        f"`{card.name}` {card.title}. {_cell(card.description)}",
        ", ".join(f"`{method}`" for method in card.methods),
        "none" if preset.origin is Origin.BUILT_IN else _download(card),
        ", ".join(_memory(preset, kind) for kind in ("cpu", "cuda")),
        _cell(card.licence),
    )
    return f"| {' | '.join(cells)} |"


def _download(card: ModelCard) -> str:
    known = sum(weights.size or 0 for weights in card.files)
    size = _gigabytes(known) if card.total_size else f"over {_gigabytes(known)}" if known else ""
    pages = dict.fromkeys(weights.gated for weights in card.files if weights.gated)
    words = [size] if size else []
    words += [f"[access]({address}) first" for address in pages]
    words += ["not automatic, see below"] if any(map(_is_by_hand, card.files)) else []
    return ", ".join(words) or "size not stated"


def _is_by_hand(weights: WeightsFile) -> bool:
    checked = is_checkable(weights) or may_be_trusted(weights)
    return address_of(weights) is None or not checked


def _by_hand(presets: Iterable[Preset]) -> Iterator[str]:
    """Yield where to find the files that are not downloaded automatically, each file once."""
    yield "### Files to download yourself\n"
    yield "| file | model | where |"
    yield "|---|---|---|"
    rows: dict[tuple[str, str], list[str]] = {}
    for preset, weights in _files_by_hand(presets):
        address = address_of(weights)
        page = weights.gated if address is None else address.page
        where = "; ".join(part for part in ((weights.note or "").rstrip("."), page) if part)
        rows.setdefault((weights.file, _cell(where)), []).append(f"`{preset.card.name}`")
    for (file, where), names in rows.items():
        yield f"| `{file}` | {', '.join(names)} | {where} |"


def _files_by_hand(presets: Iterable[Preset]) -> Iterator[tuple[Preset, WeightsFile]]:
    for preset in presets:
        if preset.origin is not Origin.DOWNLOAD:
            continue
        for weights in filter(_is_by_hand, preset.card.files):
            yield preset, weights


def _memory(preset: Preset, kind: str) -> str:
    needed = max(required_memory(preset, method, kind) for method in preset.card.methods)
    return f"{needed / 1e9:.1f} GB"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
