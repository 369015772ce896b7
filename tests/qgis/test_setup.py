"""``geoseg:setup`` refuses what it must not touch, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from qgis.core import QgsProcessingException, QgsSettings

from geoseg_qgis.processing.proxy import proxy_variables


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep logs and locks of the set-up out of the account."""
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path / "data"))


def test_folders_with_other_files_are_not_touched(provider, tmp_path: Path) -> None:
    import processing

    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"picture")
    with pytest.raises(QgsProcessingException, match="is not empty and holds no engine"):
        processing.run("geoseg:setup", {"DESTINATION": str(folder)})
    assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]


def test_unwritable_places_are_said(provider, tmp_path: Path) -> None:
    import processing

    (tmp_path / "file").write_text("no folder")
    with pytest.raises(QgsProcessingException) as caught:
        processing.run("geoseg:setup", {"DESTINATION": str(tmp_path / "file" / "engine")})
    assert str(tmp_path / "file") in str(caught.value)
    assert "error of its own" not in str(caught.value)


@pytest.fixture
def proxy_settings(qgis_app):
    """Write settings below ``proxy/`` and take them back."""
    store = QgsSettings()

    def write(**values: object) -> None:
        for name, value in values.items():
            store.setValue(f"proxy/{name}", value)

    yield write
    store.remove("proxy")


def test_the_proxy_of_qgis_reaches_the_installer(proxy_settings) -> None:
    assert proxy_variables() == {}
    proxy_settings(
        proxyEnabled=True,
        proxyType="HttpProxy",
        proxyHost="proxy.example",
        proxyPort="3128",
        proxyUser="jo@office",
        proxyPassword="a/b",  # pragma: allowlist secret
        noProxyUrls=["http://maps.example/tiles", "intranet"],
    )
    address = "http://jo%40office:a%2Fb@proxy.example:3128"  # pragma: allowlist secret
    assert proxy_variables() == {
        "HTTP_PROXY": address,
        "HTTPS_PROXY": address,
        "NO_PROXY": "maps.example,intranet",
    }
    proxy_settings(proxyType="DefaultProxy")
    assert proxy_variables() == {}
