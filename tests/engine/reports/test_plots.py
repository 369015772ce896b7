"""Plots stand inside of pages, so they hold nothing that a page must not hold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

from geoseg_qgis.engine.reports.plots import confusion_matrix, histogram

HOSTILE = ["<script>alert(1)</script>", "\"a' & b", "$\\frac{", "水", "x" * 40]


def drawn_texts(svg: str) -> list[str]:
    tree = ET.fromstring(svg)  # noqa: S314 - made here
    return [element.text or "" for element in tree.iter("{http://www.w3.org/2000/svg}text")]


def test_histogram_has_one_bar_a_bin_with_its_number() -> None:
    svg = histogram(np.array([0.0, 0.01, 0.3, 1.0]), 20)
    assert len(re.findall('<g id="bar-', svg)) == 20
    assert sorted(text for text in drawn_texts(svg) if text) == sorted(
        ["0", "0.25", "0.5", "0.75", "1", "2", "1", "1"]
    )
    assert histogram(np.zeros(0), 20)


def test_confusion_matrix_shows_shares_and_names() -> None:
    shares = np.array([[0.9, 0.1, 0.0], [0.004, 0.0, 0.996]])
    right = np.array([[True, False, False], [False, True, False]])
    svg = confusion_matrix(shares, right, ["roof", "road"], ["roof", "road", "tree"])
    assert drawn_texts(svg) == ["roof", "road", "tree", "roof", "road", "90%", "10%", "<1%", "100%"]


def test_names_are_escaped_and_nothing_is_loaded() -> None:
    svg = confusion_matrix(np.eye(5), np.eye(5, dtype=bool), HOSTILE, HOSTILE)
    assert "<script" not in svg
    assert "href=" not in svg
    assert "url(" not in svg
    texts = drawn_texts(svg)
    assert texts[:4] == [HOSTILE[0][:21] + "…", *HOSTILE[1:4]]
    assert texts[4] == "x" * 21 + "…"


def test_same_data_give_the_same_text() -> None:
    values = np.linspace(0, 1, 30)
    assert histogram(values, 20) == histogram(values, 20)
    matrix = np.full((3, 3), 1 / 3), np.eye(3, dtype=bool), HOSTILE[:3], HOSTILE[:3]
    assert confusion_matrix(*matrix) == confusion_matrix(*matrix)
