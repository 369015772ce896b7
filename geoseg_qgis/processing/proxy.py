"""The proxy of QGIS, as the variables that installers and the engine read."""

from __future__ import annotations

from typing import Callable, Dict, List, Tuple
from urllib.parse import quote, urlsplit

from qgis.core import QgsNetworkAccessManager, QgsSettings
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtNetwork import QNetworkProxy, QNetworkProxyFactory, QNetworkProxyQuery

HOSTS = (
    "pypi.org",
    "files.pythonhosted.org",
    "download.pytorch.org",
    "github.com",
    "huggingface.co",
    "dl.fbaipublicfiles.com",
)
"""Hosts that the set-up and the downloads of models use, asked one by one for their proxy."""

_SCHEMES = {"HttpProxy": "http", "HttpCachingProxy": "http", "Socks5Proxy": "socks5"}
_OF_SYSTEM = {
    QNetworkProxy.ProxyType.HttpProxy: "http",
    QNetworkProxy.ProxyType.HttpCachingProxy: "http",
    QNetworkProxy.ProxyType.Socks5Proxy: "socks5",
}
ProxyQuery = Callable[[QNetworkProxyQuery], List[QNetworkProxy]]


def proxy_variables(
    system: ProxyQuery = QNetworkProxyFactory.systemProxyForQuery,
) -> Dict[str, str]:
    """Return HTTP_PROXY, HTTPS_PROXY and NO_PROXY as QGIS is set up; none where it uses no proxy.

    Args:
        system: Returns the proxies of the system, which may depend on the host by a script (PAC).
    """
    store = QgsSettings()
    kind = store.value("proxy/proxyType", "", type=str)
    if not store.value("proxy/proxyEnabled", False, type=bool):
        return {}
    excluded = store.value("proxy/noProxyUrls", [], type=list)
    direct = [urlsplit(url).hostname or url for url in excluded if url]
    if kind == "DefaultProxy":
        address, others = _of_system(system)
        direct += [host for host in others if host not in direct]
    else:
        address = _of_settings(store, kind)
    if not address:
        return {}
    variables = {"HTTP_PROXY": address, "HTTPS_PROXY": address}
    if direct:
        variables["NO_PROXY"] = ",".join(direct)
    return variables


def _of_settings(store: QgsSettings, kind: str) -> str:
    """Return the proxy that the user entered, with the login of an authentication configuration."""
    host = store.value("proxy/proxyHost", "", type=str)
    if not host or kind not in _SCHEMES:
        return ""
    user = store.value("proxy/proxyUser", "", type=str)
    phrase = store.value("proxy/proxyPassword", "", type=str)
    if not user and store.value("proxy/authcfg", "", type=str):
        # QGIS has read the configuration when it started, and may not ask outside the main thread.
        known = QgsNetworkAccessManager.instance().fallbackProxy()
        if known.hostName() == host:
            user, phrase = known.user(), known.password()
    port = store.value("proxy/proxyPort", "", type=str)
    return _address(_SCHEMES[kind], host, port, user, phrase)


def _of_system(system: ProxyQuery) -> Tuple[str, List[str]]:
    """Return the proxy that the system has for the first host that needs one, and direct hosts.

    The variables hold one proxy, so hosts with another one use the first, too.
    """
    address, direct = "", []
    for host in HOSTS:
        found = system(QNetworkProxyQuery(QUrl(f"https://{host}/")))
        proxy = found[0] if found else QNetworkProxy(QNetworkProxy.ProxyType.NoProxy)
        scheme = _OF_SYSTEM.get(proxy.type(), "")
        if not scheme or not proxy.hostName():
            direct.append(host)
        elif not address:
            port = str(proxy.port()) if proxy.port() else ""
            address = _address(scheme, proxy.hostName(), port, proxy.user(), proxy.password())
    return address, direct


def _address(scheme: str, host: str, port: str, user: str, phrase: str) -> str:
    login = f"{quote(user, safe='')}:{quote(phrase, safe='')}@" if user else ""
    return f"{scheme}://{login}{host}{':' + port if port else ''}"
