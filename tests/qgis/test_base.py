"""What all algorithms share: errors that leave nothing open."""

from __future__ import annotations

import contextlib
import gc
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from osgeo import ogr
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsVectorLayer,
)

from geoseg_qgis.processing.base import GeoSegAlgorithm
from geoseg_qgis.processing.values import Values
from geoseg_qgis.protocol.errors import ErrorCode, JobError


class Failing(GeoSegAlgorithm):
    """Opens a layer of a file and then fails, before or during the run."""

    NAME = "failing"
    NEEDS_ENGINE = False

    path = ""
    fails_in = ""
    opened: List[Any]
    make_error: Callable[[], Exception]

    def canExecute(self) -> Tuple[bool, str]:
        return self.fails_in != "start", "There is no engine. Set it up."

    def declare(self) -> None:
        pass

    def prepare(self, _values: Values, _feedback: QgsProcessingFeedback) -> None:
        self._open("prepare")

    def process(self, _values: Values, _feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        self._open("process")
        return {}

    def _open(self, step: str) -> None:
        if step == self.fails_in:
            layer = QgsVectorLayer(self.path, "polygons", "ogr")
            assert layer.isValid()
            self.opened.append(weakref.ref(layer))
            raise type(self).make_error()


def _refusal() -> Exception:
    return JobError(ErrorCode.INVALID_JOB, "It failed.", "Try again.")


@pytest.mark.parametrize("make_error", [_refusal, ValueError], ids=["refusal", "fault"])
@pytest.mark.parametrize("step", ["start", "prepare", "process"])
def test_a_run_that_fails_leaves_no_layer_open(
    qgis_app: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    make_error: Callable[[], Exception],
) -> None:
    path = str(tmp_path / "polygons.gpkg")
    ogr.GetDriverByName("GPKG").CreateDataSource(path).CreateLayer("polygons", None, ogr.wkbPolygon)
    for name, value in {
        "path": path,
        "fails_in": step,
        "make_error": make_error,
        "opened": [],
    }.items():
        monkeypatch.setattr(Failing, name, value, raising=False)
    given = QgsVectorLayer(path, "given", "ogr")
    kept = weakref.ref(given)
    with contextlib.suppress(QgsProcessingException):
        Failing().create().run(
            {"LAYER": given}, QgsProcessingContext(), QgsProcessingFeedback(), {}, False
        )
    del given
    gc.collect()
    assert [reference() for reference in Failing.opened] == [None] * (step != "start")
    assert kept() is None
