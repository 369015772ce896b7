"""``geoseg:setup`` refuses what it must not touch, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from qgis.core import QgsNetworkAccessManager, QgsProcessingException, QgsSettings
from qgis.PyQt.QtNetwork import QNetworkProxy, QNetworkProxyQuery

from geoseg_qgis.engine_client import SetupPlan
from geoseg_qgis.processing.proxy import proxy_variables
from geoseg_qgis.processing.setup import plan_text


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
    direct = QNetworkProxy(QNetworkProxy.ProxyType.NoProxy)
    proxy_settings(proxyType="DefaultProxy")
    assert proxy_variables(lambda _query: [direct]) == {}
    proxy_settings(proxyType="FtpCachingProxy")
    assert proxy_variables() == {}


def test_proxies_of_the_system_may_depend_on_the_host(proxy_settings) -> None:
    def script(query: QNetworkProxyQuery) -> list:
        if query.url().host() == "huggingface.co":
            return [QNetworkProxy(QNetworkProxy.ProxyType.NoProxy)]
        return [QNetworkProxy(QNetworkProxy.ProxyType.HttpProxy, "pac.example", 8080)]

    proxy_settings(proxyEnabled=True, proxyType="DefaultProxy", noProxyUrls=["http://intranet/"])
    assert proxy_variables(script) == {
        "HTTP_PROXY": "http://pac.example:8080",
        "HTTPS_PROXY": "http://pac.example:8080",
        "NO_PROXY": "intranet,huggingface.co",
    }
    proxy_settings(proxyEnabled=False)
    assert proxy_variables(script) == {}


def test_login_of_an_authentication_configuration_is_used(proxy_settings) -> None:
    manager = QgsNetworkAccessManager.instance()
    before = manager.fallbackProxy()
    known = QNetworkProxy(QNetworkProxy.ProxyType.HttpProxy, "proxy.example", 3128, "jo", "word")
    manager.setFallbackProxyAndExcludes(known, [], [])
    try:
        proxy_settings(
            proxyEnabled=True,
            proxyType="HttpProxy",
            proxyHost="proxy.example",
            proxyPort="3128",
            authcfg="abc1234",
        )
        assert proxy_variables()["HTTPS_PROXY"] == "http://jo:word@proxy.example:3128"
    finally:
        manager.setFallbackProxyAndExcludes(before, [], [])


def test_the_plan_is_told_in_words() -> None:
    plan = SetupPlan("cuda", "A card was found.", 3_250_000_000, 6_300_000_000, (), "install")
    text = "A card was found. About 3.2 GB to download, 6.3 GB on the disk."
    assert plan_text(plan) == text
    checked = SetupPlan("cuda", "A card was found.", 0, 6_300_000_000, (), "check")
    assert plan_text(checked) == "The engine is installed; its packages are checked."
