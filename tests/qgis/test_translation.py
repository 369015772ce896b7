"""Translations: complete, with the same places for values, and used by the window."""

from __future__ import annotations

import string

import pytest
from qgis.core import QgsApplication, QgsSettings

from geoseg_qgis.translation import FOLDER, duration, read_translations, tr
from scripts.translations import plugin_texts

FILES = sorted(FOLDER.glob("geoseg_*.ts"))


def places(text: str) -> list[tuple[str, str, str]]:
    """Return name, format and conversion of each place for a value."""
    return sorted(
        (name, form or "", conversion or "")
        for _text, name, form, conversion in string.Formatter().parse(text)
        if name is not None
    )


def test_there_is_a_german_translation() -> None:
    assert [path.name for path in FILES] == ["geoseg_de.ts"]
    assert len(plugin_texts()) > 250


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_translations_are_complete(path) -> None:
    found = read_translations(path)
    # "make translations" adds new texts to the files.
    window = plugin_texts(["gui/find", "gui/jobs", "gui/review"])
    assert [text for text in window if text not in found] == []
    # New algorithms and tools may come before their translation, but no more than a few of them.
    everything = plugin_texts()
    assert sum(text in found for text in everything) > 0.9 * len(everything)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_values_have_the_same_places(path) -> None:
    for text, translation in read_translations(path).items():
        assert places(text) == places(translation), text


def test_the_window_speaks_the_language_of_qgis(qgis_app) -> None:
    store = QgsSettings()
    before = store.value("locale/userLocale", "en_US")
    store.setValue("locale/overrideFlag", True)
    try:
        store.setValue("locale/userLocale", "de_AT")
        assert QgsApplication.locale() == "de_AT"
        assert tr("Visible area") == "Sichtbares Gebiet"
        assert tr("no such text") == "no such text"
        store.setValue("locale/userLocale", "fr")
        assert tr("Visible area") == "Visible area"
    finally:
        store.setValue("locale/userLocale", before)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (42.4, "42 s"), (90.0, "2 min"), (1234.0, "20 min"), (8000.0, "2 h 10 min")],
)
def test_times_are_as_coarse_as_estimates(seconds: float, text: str) -> None:
    assert duration(seconds) == text
