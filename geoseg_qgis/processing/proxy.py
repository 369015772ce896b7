"""The proxy of QGIS, as the variables that installers and the engine read."""

from __future__ import annotations

from typing import Dict
from urllib.parse import quote, urlsplit

from qgis.core import QgsSettings

_SCHEMES = {"HttpProxy": "http", "HttpCachingProxy": "http", "Socks5Proxy": "socks5"}


def proxy_variables() -> Dict[str, str]:
    """Return HTTP_PROXY, HTTPS_PROXY and NO_PROXY; none where QGIS uses that of the system."""
    store = QgsSettings()
    kind = store.value("proxy/proxyType", "", type=str)
    host = store.value("proxy/proxyHost", "", type=str)
    enabled = store.value("proxy/proxyEnabled", False, type=bool)
    if not enabled or not host or kind not in _SCHEMES:
        return {}
    port = store.value("proxy/proxyPort", "", type=str)
    address = f"{_SCHEMES[kind]}://{_login(store)}{host}{':' + port if port else ''}"
    variables = {"HTTP_PROXY": address, "HTTPS_PROXY": address}
    excluded = store.value("proxy/noProxyUrls", [], type=list)
    hosts = [urlsplit(url).hostname or url for url in excluded if url]
    if hosts:
        variables["NO_PROXY"] = ",".join(hosts)
    return variables


def _login(store: QgsSettings) -> str:
    user = store.value("proxy/proxyUser", "", type=str)
    if not user:
        return ""
    phrase = store.value("proxy/proxyPassword", "", type=str)
    return f"{quote(user, safe='')}:{quote(phrase, safe='')}@"
