"""The text box of Find with keys, without any engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dock_window import DockWindow
from qgis.core import QgsRasterLayer
from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtTest import QTest
from waiting import wait_until

from geoseg_qgis.gui.face import Face


@pytest.fixture
def face(
    provider, window: DockWindow, lake: QgsRasterLayer, monkeypatch, tmp_path
) -> Iterator[Face]:
    """The dock where there is no engine."""
    monkeypatch.setenv("GEOSEG_PYTHON", str(tmp_path / "python"))
    window.show(lake)
    made = Face(window)
    yield made
    made.close()


def test_unknown_words_are_marked_while_typing(face: Face) -> None:
    page = face.dock.find
    QTest.keyClicks(page.text, "building; zebra")
    marked = wait_until(
        lambda: page.text.marked() == ((10, 5),), meanwhile=QCoreApplication.processEvents
    )
    assert marked
    assert "does not know zebra" in page.hint.text()
    assert len(page.rows.sliders) == 2
    QTest.keyClicks(page.text, "; road")
    assert wait_until(lambda: len(page.rows.sliders) == 3, meanwhile=QCoreApplication.processEvents)


def test_known_words_complete(face: Face) -> None:
    page = face.dock.find
    face.dock.stack.setCurrentIndex(1)
    face.dock.show()
    QTest.keyClicks(page.text, "water; buil")
    assert page.text.completions()[:2] == ("building", "buildings")
    popup = page.text.findChild(type(page.text._completer)).popup()
    QTest.keyClick(popup, Qt.Key.Key_Down)
    QTest.keyClick(popup, Qt.Key.Key_Return)
    assert page.text.toPlainText() == "water; building"


def test_thresholds_and_colours_outlive_a_change_of_the_text(face: Face) -> None:
    page = face.dock.find
    page.text.setPlainText("water; building")
    page.start_preview()
    page.rows.sliders[1].setValue(30)
    page.text.setPlainText("building; road")
    page.start_preview()
    assert page.rows.thresholds() == [0.3, 0.0]


def test_without_an_engine_the_dock_is_the_set_up(face: Face) -> None:
    dock = face.dock
    dock.show()
    assert dock.stack.currentWidget() is dock.setup
    known = wait_until(
        lambda: "download" in dock.setup.button.text().lower(),
        meanwhile=QCoreApplication.processEvents,
    )
    assert known
    assert "Free on this disk" in dock.setup.text.text()
    assert len(face.runner.jobs) == 0
    face.find()
    face.dock.find.text.setPlainText("water")
    face.dock.find.start_preview()
    assert "python" in face.dock.find.message.text()


def test_specks_below_a_cell_of_the_network_are_left_out(face: Face) -> None:
    page = face.dock.find
    page.text.setPlainText("water; building")
    page.start_preview()
    # Imagery of 0.5 m is coarser than the 0.25 m of the model; a cell has 8 pixels.
    (step,) = page.steps()
    assert step[1]["MINIMUM_AREA"] == pytest.approx(16.0, rel=0.01)
    page.rows.sliders[0].setValue(20)
    first, second = page.steps()
    assert "MINIMUM_AREA" not in first[1]
    assert second[1]["MINIMUM_AREA"] == step[1]["MINIMUM_AREA"]
    page.text.setPlainText("all the water")
    page.start_preview()
    assert page.steps()[0][1]["MINIMUM_AREA"] == pytest.approx(4.0, rel=0.01)
