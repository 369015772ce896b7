"""Where things lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "geoseg_qgis"
SHARED = ROOT.parent / "shared"
