"""Pages escape what they show and refuse values that nobody gave."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from geoseg_qgis.engine.methods.evaluation.class_metrics import ClassRow
from geoseg_qgis.engine.metrics.boundary import MatchScores
from geoseg_qgis.engine.reports.page import count, score, write_page
from scripts.package import plugin_files, write_zip

NOTHING = MatchScores(0, 0, 0, 0)


def write_evaluation(path: Path, **changes: object) -> str:
    row = ClassRow(
        "<b>'roof\"", "", "1", 0, 12345, 0, math.nan, math.nan, 0.0, 0.5, NOTHING, NOTHING
    )
    values = {
        "result": "<script>alert(1)</script>", "reference": "A & B", "warnings": ["5 < 6"],
        "tiles": [("Mean IoU", "0.500")], "rows": [row], "class_rows": [row], "confusion": None,
        "areas": [], "area_unit": "m²", "tolerance": "2 pixels",
        "comparison": {"Compared": "<i>all</i>"},
        "provenance": {"source": "{{ 7 * 7 }}"},
    }  # fmt: skip
    write_page(str(path), "evaluation.html.j2", **(values | changes))
    return path.read_text(encoding="utf-8")


def test_texts_are_escaped(tmp_path: Path) -> None:
    text = write_evaluation(tmp_path / "page.html")
    for hostile in ("<script", "<b>'", "A & B", "5 < 6", "<i>"):
        assert hostile not in text
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>" in text
    assert "<th>&lt;b&gt;&#39;roof&#34;</th>" in text
    assert "<dt>source</dt><dd>{{ 7 * 7 }}</dd>" in text
    assert "<style>\n:root {" in text


def test_missing_numbers_are_dashes(tmp_path: Path) -> None:
    text = write_evaluation(tmp_path / "page.html")
    assert text.count('<td class="missing">&ndash;</td>') == 2 + 5
    assert '<td><span class="bar"><i style="width: 50.0%"></i></span>' in text
    assert '<td class="number">12\u202f345</td>' in text
    assert "<td>none</td><td>1</td>" in text
    assert "too many classes" in text


def test_forgotten_value_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError):
        write_page(str(tmp_path / "page.html"), "evaluation.html.j2", result="x")
    assert not list(tmp_path.iterdir())


def test_numbers() -> None:
    assert count(1234567) == "1\u202f234\u202f567"
    assert score(0.12345) == "0.123"


@pytest.mark.slow
def test_templates_are_in_the_zip(tmp_path: Path) -> None:
    write_zip(plugin_files(), tmp_path / "plugin.zip")
    with zipfile.ZipFile(tmp_path / "plugin.zip") as archive:
        names = {Path(name).name for name in archive.namelist() if "/templates/" in name}
    assert {"page.css", "page.html.j2", "assessment.html.j2", "evaluation.html.j2"} <= names
