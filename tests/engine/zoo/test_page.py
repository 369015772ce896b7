"""The page about models is what its script makes from the cards."""

from __future__ import annotations

from pathlib import Path

from geoseg_qgis.engine.zoo.registry import Origin, catalogue
from scripts.model_page import MARKER, PAGE, page


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make docs"


def test_page_names_every_model_once_and_every_gate() -> None:
    text = page()
    assert MARKER not in text
    presets = catalogue([Path("nowhere")]).presets.values()
    for preset in presets:
        if preset.origin is Origin.USER:
            continue
        rows = [line for line in text.splitlines() if line.startswith(f"| `{preset.card.name}` ")]
        assert len(rows) == 1, preset.card.name
        assert preset.card.licence in rows[0]
        for weights in preset.card.files:
            assert weights.gated is None or weights.gated in text
