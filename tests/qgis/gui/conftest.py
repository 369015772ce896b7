"""Fixtures of the dock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dock_window import DockWindow
from engine_runs import painted, write_raster
from qgis.core import QgsProject, QgsRasterLayer

WATER = (40, 70, 85)


@pytest.fixture
def window(qgis_app, qgis_processing) -> Iterator[DockWindow]:
    """A window with a map."""
    made = DockWindow()
    yield made
    made.close()


@pytest.fixture
def lake(qgis_new_project, tmp_path: Path) -> QgsRasterLayer:
    """A dark lake on grass, 80 m wide, in the project."""
    picture = painted((160, 160), [(60, 140, 50, 150)], WATER, 1)
    layer = QgsRasterLayer(write_raster(tmp_path / "lake.tif", picture, 0.5), "lake")
    QgsProject.instance().addMapLayer(layer)
    return layer
