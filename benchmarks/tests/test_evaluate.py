"""The page of measured quality: its tables, presets and numbers of clicks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evaluate as script
from benchmarks.clicks import CLICKS, clicks_needed
from benchmarks.image_sets import GENERATED, Question, drawn_images
from geoseg_qgis.engine.zoo.card import read_card
from geoseg_qgis.engine.zoo.registry import Origin, Preset, open_preset
from training.land_cover import BIT, all_but

BUILT_IN = open_preset(script.BUILT_IN)


def test_a_table_has_empty_cells_and_rounded_numbers() -> None:
    rows = [{"model": "a", "IoU": 0.12345, "masks": 3}, {"model": "b", "IoU": None, "masks": 0}]
    assert script.table(rows).splitlines() == [
        "| model | IoU | masks |",
        "| --- | --- | --- |",
        "| a | 0.123 | 3 |",
        "| b |  | 0 |",
    ]


def test_the_page_holds_what_was_measured_in_its_own_order(tmp_path: Path) -> None:
    (tmp_path / "clicks.json").write_text(json.dumps([{"objects": "roof", "NoC@80": 2.5}]))
    (tmp_path / "words.json").write_text(json.dumps([{"word": "lake", "IoU": 0.5}]))
    (tmp_path / "quality.json").write_text("[]")
    page = script.markdown(tmp_path)
    assert page.startswith("# Measured quality\n")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == ["## Words that were no class in training", "## Clicks"]
    assert "\n| lake | 0.500 |\n" in page
    assert page.endswith("\n| roof | 2.500 |\n")


def test_the_page_in_the_docs_has_the_text_of_the_template() -> None:
    """Only tables come from measurements; texts are edited in the template."""
    page = (script.ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    text = re.sub(r"(^\|.*\n)+", "<table>\n", page, flags=re.MULTILINE)
    template = script.TEMPLATE.read_text(encoding="utf-8")
    assert text == re.sub(r"<!-- \w+ -->", "<table>", template)


def test_a_changed_preset_has_other_settings_and_the_same_weights(tmp_path: Path) -> None:
    change = {"gumix": {"scales": [1.0]}}
    changed = script.changed_preset(BUILT_IN, change, tmp_path / "one")
    assert changed.card.gumix == {**BUILT_IN.card.gumix, "scales": [1.0]}
    assert changed.card.methods == BUILT_IN.card.methods
    assert changed.missing_files() == []
    assert BUILT_IN.card == read_card(BUILT_IN.folder / "card.json")


def test_a_preset_without_regions_serves_what_needs_none(tmp_path: Path) -> None:
    changed = script.changed_preset(BUILT_IN, {"sam2": None}, tmp_path / "one")
    assert "sam2" not in changed.card.components
    assert [method for method in script.METHODS if changed.is_ready(method)] == ["gumix", "fast"]


@pytest.mark.parametrize("origin", Origin)
def test_jobs_name_the_preset_that_is_measured(origin: Origin, tmp_path: Path) -> None:
    """A preset for download shares its folder with others; a changed one shares its name."""
    preset = Preset(BUILT_IN.card, tmp_path, origin)
    named = str(tmp_path) if origin is Origin.USER else BUILT_IN.card.name
    assert script.model_of(preset) == named


def test_no_images_give_no_score(tmp_path: Path) -> None:
    question = Question("roofs", "roof; rest", (BIT["building"], all_but("building")), 1)
    assert script.segmentation_score(script.BUILT_IN, "fast", question, [], tmp_path) is None


def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    images = list(drawn_images(tmp_path, 1))
    image_sets = {"generated": (GENERATED, images)}
    row = script.variant_row(script.BUILT_IN, "fast", "fast", script.BUILT_IN, image_sets)
    assert 0 < row[GENERATED.name] < 1
    assert script.variant_rows([("fast", "fast", BUILT_IN)] * 2, image_sets, 2) == [row, row]


def test_clicks_are_counted_up_to_the_first_that_is_good_enough() -> None:
    scores = np.array(
        [[0.9, 0.1, 0.1, 0.1, 0.1], [0.2, 0.6, 0.85, 0.7, 0.95], [0.1, 0.2, 0.3, 0.4, 0.5]]
    )
    assert clicks_needed(scores, 0.8) == pytest.approx((1 + 3 + CLICKS) / 3)
    assert clicks_needed(scores, 0.9) == pytest.approx((1 + 5 + CLICKS) / 3)
    assert clicks_needed(scores, 0.99) == CLICKS
