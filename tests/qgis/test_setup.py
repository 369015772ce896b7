"""``geoseg:setup`` refuses what it must not touch, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from qgis.core import QgsProcessingException


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep logs and locks of the set-up out of the account."""
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path / "data"))


def test_other_peoples_folders_are_left_alone(provider, tmp_path: Path) -> None:
    import processing

    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"picture")
    with pytest.raises(QgsProcessingException, match="holds other things than an engine"):
        processing.run("geoseg:setup", {"DESTINATION": str(folder)})
    assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]


def test_unwritable_places_are_said(provider, tmp_path: Path) -> None:
    import processing

    (tmp_path / "file").write_text("no folder")
    with pytest.raises(QgsProcessingException) as caught:
        processing.run("geoseg:setup", {"DESTINATION": str(tmp_path / "file" / "engine")})
    assert str(tmp_path / "file") in str(caught.value)
    assert "error of its own" not in str(caught.value)
