"""Starts child processes with a clean environment, without a window, in their own group."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any, Dict, List, Mapping, Optional

_KEPT = {
    "PATH", "HOME", "USER", "LOGNAME", "USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA",
    "PROGRAMDATA", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "LANG", "TEMP",
    "TMP", "TMPDIR", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OMP_NUM_THREADS", "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS", "HF_HOME", "PROCESSOR_ARCHITECTURE", "NUMBER_OF_PROCESSORS",
}  # fmt: skip
# The engine downloads models with the user's Hugging Face settings; the installer needs none.
_KEPT_FOR_MODELS = ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HF_ENDPOINT")
_KEPT_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "GEOSEG_", "SLURM_")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

_QGIS_FOLDER = re.compile(r"osgeo4w(64)?|qgis( .*|-ltr|-dev)?")


def clean_environment(source: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the environment variables of a child process, without those of QGIS.

    PYTHON*, QT_*, GDAL_*, PROJ_*, LD_LIBRARY_PATH and similar variables would make the child load
    QGIS's libraries. Certificate files that do not exist are dropped, too, and on Windows those of
    QGIS.

    Args:
        source: Variables to choose from; those of this process if None.
    """
    given = without_certificates_of_qgis(os.environ if source is None else source)
    environment = {
        name: value
        for name, value in given.items()
        if name.upper() in _KEPT or name.upper().startswith(_KEPT_PREFIXES)
    }
    for name in _CERTIFICATES:
        if name in environment and not os.path.exists(environment[name]):  # noqa: PTH110
            del environment[name]
    if sys.platform == "win32" and "PATH" in environment:
        environment["PATH"] = _path_without_qgis(environment["PATH"])
    return environment


def without_certificates_of_qgis(variables: Mapping[str, str]) -> Dict[str, str]:
    """Return variables without those that name certificates of QGIS on Windows.

    QGIS and OSGeo4W set them to their own list, which lacks the certificate that an organisation
    adds to the store of Windows. Without them, that store is used.
    """
    kept = dict(variables)
    if not _on_windows():
        return kept
    roots = [variables.get(name, "") for name in ("OSGEO4W_ROOT", "QGIS_PREFIX_PATH")]
    roots += [sys.prefix] if _lies_in_qgis(sys.prefix) else []
    folders = [os.path.normcase(os.path.abspath(root)) for root in roots if root]  # noqa: PTH100
    for name in _CERTIFICATES:
        path = os.path.normcase(os.path.abspath(kept.get(name) or os.sep))  # noqa: PTH100
        inside = any(path.startswith(folder + os.sep) for folder in folders)
        if name in kept and (inside or _lies_in_qgis(path)):
            del kept[name]
    return kept


def engine_environment(variables: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """Return the environment variables of the engine process.

    On Linux the allocator keeps freed memory, because returning every tensor to the system takes
    longer than computing large batches.

    Args:
        variables: Variables added to those of the system, such as QGIS's proxy.
    """
    own = dict(variables or {})
    # Programs read http_proxy before HTTP_PROXY.
    given = {name: value for name, value in os.environ.items() if name.upper() not in own}
    given.update(own)
    environment = clean_environment(given)
    environment.update({name: given[name] for name in _KEPT_FOR_MODELS if given.get(name)})
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    # Spinning threads compete with QGIS for the cores: a run on two busy cores took 2.6 times as
    # long.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform.startswith("linux"):
        environment["MALLOC_MMAP_THRESHOLD_"] = str(4 * 2**30)
        environment["MALLOC_TRIM_THRESHOLD_"] = str(8 * 2**30)
        environment["MALLOC_TOP_PAD_"] = str(256 * 2**20)
    return environment


def start_options() -> Dict[str, Any]:
    """Return ``Popen`` options: no console window, and Ctrl+C in the terminal does not reach it."""
    if sys.platform == "win32":
        startup = subprocess.STARTUPINFO()
        startup.dwFlags |= subprocess.STARTF_USESHOWWINDOW
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return {"startupinfo": startup, "creationflags": flags}
    return {"start_new_session": True}


def _path_without_qgis(path: str) -> str:
    entries: List[str] = path.split(os.pathsep)
    foreign = ("qgis", "osgeo4w")
    return os.pathsep.join(
        entry for entry in entries if not any(word in entry.lower() for word in foreign)
    )


def _on_windows() -> bool:
    return sys.platform == "win32"


def _lies_in_qgis(path: str) -> bool:
    """Return whether a folder of a path is called like an installation of QGIS."""
    return any(_QGIS_FOLDER.fullmatch(part) for part in re.split(r"[/\\]", path.lower()))
