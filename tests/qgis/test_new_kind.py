"""Three files make a new kind of job; here its algorithm in Processing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from new_kind import KIND, copy_package

_LIST = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from qgis.core import QgsApplication, QgsProcessingContext
app = QgsApplication([], False)
app.initQgis()
sys.path.append("/usr/share/qgis/python/plugins")
from geoseg_qgis.processing.provider import algorithms
(found,) = [item for item in algorithms() if item.NAME == sys.argv[2]]
found.initAlgorithm()
said = found.checkParameterValues({"INPUT": sys.argv[3], "LEVEL": 300}, QgsProcessingContext())
names = {item.name(): item.defaultValue() for item in found.parameterDefinitions()}
print(json.dumps({"names": names, "said": said, "icon": found.svgIconPath()}))
sys.stdout.flush()
os._exit(0)
"""


def test_a_new_kind_is_an_algorithm(make_raster, tmp_path: Path) -> None:
    folder = copy_package(tmp_path / "copy")
    command = [sys.executable, "-c", _LIST, str(folder), KIND, str(make_raster(bands=1))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["names"] == {"INPUT": None, "LEVEL": 128, "TABLE": None}
    assert found["said"] == [
        False,
        "Level must lie between 0 and 255; it is 300. Give a number in this range, such as 128.",
    ]
    assert Path(found["icon"]).is_file()
