"""Passes the user's pip settings on to uv, which does not read pip's configuration files.

These settings are passed on: index, extra indexes, certificate, trusted hosts, proxy and timeout.
Folders of wheels (``find-links``) are not.
"""

from __future__ import annotations

import configparser
import os
import ssl
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Optional

ETC = Path("/etc")
"""Folder of the system's configuration on Linux and macOS."""

_UV_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE")
_PASSED_ON = (
    *_UV_INDEX, "UV_INDEX_STRATEGY", "UV_INSECURE_HOST", "UV_CACHE_DIR", "UV_HTTP_TIMEOUT",
    "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_KEYRING_PROVIDER", "UV_PYTHON_INSTALL_MIRROR",
    "UV_PYTHON_INSTALL_DIR", "UV_OFFLINE", "UV_LINK_MODE", "UV_CONCURRENT_DOWNLOADS",
)  # fmt: skip
_PIP_NAMES = ("index-url", "extra-index-url", "cert", "trusted-host", "proxy", "timeout")


def index_environment(source: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return environment variables that make uv use the user's package index.

    uv's own variables and configuration take precedence over those of pip.
    """
    variables = os.environ if source is None else source
    environment = {name: variables[name] for name in _PASSED_ON if variables.get(name)}
    if any(name in environment for name in _UV_INDEX) or _has_uv_configuration(variables):
        return environment
    settings = pip_settings(variables)
    environment.update(_as_uv(settings))
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        if settings.get("proxy") and not variables.get(name) and not variables.get(name.lower()):
            environment[name] = settings["proxy"]
    certificate = settings.get("cert", "")
    if certificate and not variables.get("SSL_CERT_FILE") and Path(certificate).is_file():
        environment["SSL_CERT_FILE"] = certificate
    return environment


def trust_environment() -> Dict[str, str]:
    """Return the variable that makes uv trust the system's certificates, where there are any.

    Organisations add their own certificate there, which uv's built-in list does not contain.
    """
    paths = ssl.get_default_verify_paths()
    has_list = bool(paths.cafile) or bool(paths.capath and any(Path(paths.capath).iterdir()))
    if sys.platform in ("win32", "darwin") or has_list:
        return {"UV_SYSTEM_CERTS": "1"}
    return {}


def pip_environment(source: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return pip's own variables about the index; pip reads its files itself."""
    variables = os.environ if source is None else source
    names = [f"PIP_{name.upper().replace('-', '_')}" for name in _PIP_NAMES]
    names += ["PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT"]
    return {name: variables[name] for name in names if variables.get(name)}


def pip_settings(variables: Mapping[str, str]) -> Dict[str, str]:
    """Return pip's settings about the index from its files and, with precedence, its variables."""
    settings: Dict[str, str] = {}
    for path in _pip_files(variables):
        parser = configparser.RawConfigParser()
        try:
            parser.read(str(path), encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                values = {key.replace("_", "-"): value for key, value in parser.items(section)}
                values.setdefault("timeout", values.get("default-timeout", ""))
                settings.update({key: values[key] for key in _PIP_NAMES if values.get(key)})
    if variables.get("PIP_DEFAULT_TIMEOUT"):
        settings["timeout"] = variables["PIP_DEFAULT_TIMEOUT"]
    for key in _PIP_NAMES:
        value = variables.get(f"PIP_{key.upper().replace('-', '_')}")
        if value:
            settings[key] = value
    return settings


def _as_uv(settings: Mapping[str, str]) -> Dict[str, str]:
    """Return uv's variables for pip's settings.

    pip takes a version from any index, uv only from the first index that has the package, unless
    its strategy is changed. That is safe here because the lock file has hashes.
    """
    environment: Dict[str, str] = {}
    if settings.get("index-url"):
        environment["UV_DEFAULT_INDEX"] = settings["index-url"]
    extra = [url for url in settings.get("extra-index-url", "").split() if _reachable(url)]
    if extra:
        environment["UV_INDEX"] = " ".join(extra)
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if settings.get("trusted-host"):
        environment["UV_INSECURE_HOST"] = " ".join(settings["trusted-host"].split())
    if settings.get("timeout", "").isdigit():
        environment["UV_HTTP_TIMEOUT"] = settings["timeout"]
    return environment


def _reachable(url: str) -> bool:
    """Return False for a folder that does not exist; hosts are not contacted."""
    return not url.startswith("file://") or Path(url[len("file://") :]).is_dir()


def _has_uv_configuration(variables: Mapping[str, str]) -> bool:
    folders: List[Path] = []
    if sys.platform == "win32":
        folders += [Path(variables[name]) / "uv" for name in ("APPDATA", "PROGRAMDATA")
                    if variables.get(name)]  # fmt: skip
    else:
        home = Path(variables.get("HOME") or Path.home())
        folders += [Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "uv"]
        folders += [ETC / "uv"]
    return any((folder / "uv.toml").is_file() for folder in folders)


def _pip_files(variables: Mapping[str, str]) -> List[Path]:
    if variables.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path(variables.get("HOME") or variables.get("USERPROFILE") or Path.home())
    if sys.platform == "win32":
        files = [Path(variables.get("PROGRAMDATA", "C:/ProgramData")) / "pip/pip.ini"]
        files += [home / "pip/pip.ini"]
        files += [Path(variables.get("APPDATA") or home / "AppData/Roaming") / "pip/pip.ini"]
    else:
        files = [ETC / "pip.conf", ETC / "xdg/pip/pip.conf", home / ".pip/pip.conf"]
        files += [Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"]
        if sys.platform == "darwin":
            library = Path("Library/Application Support/pip/pip.conf")
            files = [Path("/") / library, *files, home / library]
    if variables.get("PIP_CONFIG_FILE"):
        files.append(Path(variables["PIP_CONFIG_FILE"]))
    return files
