"""What a child process inherits from QGIS, and what not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geoseg_qgis.engine_client.child_process import (
    clean_environment,
    engine_environment,
    start_options,
)

QGIS_VARIABLES = {
    "PYTHONHOME": "/opt/qgis/python",
    "PYTHONPATH": "/usr/share/qgis/python",
    "LD_LIBRARY_PATH": "/opt/qgis/lib",
    "LD_PRELOAD": "/opt/qgis/lib/libgdal.so",
    "DYLD_LIBRARY_PATH": "/opt/qgis/lib",
    "GDAL_DATA": "/opt/qgis/gdal",
    "PROJ_LIB": "/opt/qgis/proj",
    "PROJ_DATA": "/opt/qgis/proj",
    "QT_PLUGIN_PATH": "/opt/qgis/qt",
    "QGIS_PREFIX_PATH": "/opt/qgis",
    "VIRTUAL_ENV": "/home/someone/venv",
    "PIP_TARGET": "/home/someone/packages",
}


def test_variables_of_qgis_are_dropped() -> None:
    kept = {"PATH": "/usr/bin", "HOME": "/home/someone", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "1"}
    assert clean_environment({**QGIS_VARIABLES, **kept}) == kept


def test_dangling_certificate_is_dropped(tmp_path: Path) -> None:
    present = tmp_path / "ca.pem"
    present.touch()
    variables = {"SSL_CERT_FILE": str(present), "REQUESTS_CA_BUNDLE": str(tmp_path / "gone.pem")}
    assert clean_environment(variables) == {"SSL_CERT_FILE": str(present)}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_engine_keeps_freed_memory() -> None:
    assert engine_environment()["MALLOC_TRIM_THRESHOLD_"] == "8589934592"
    assert engine_environment()["OMP_WAIT_POLICY"] == "PASSIVE"


def test_what_is_told_goes_before_what_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://old.example:1")
    monkeypatch.setenv("HF_TOKEN", "pieces")
    monkeypatch.setenv("GDAL_DATA", "/opt/qgis/gdal")
    environment = engine_environment({"HTTP_PROXY": "http://new.example:2", "GDAL_DATA": "/x"})
    assert environment["HTTP_PROXY"] == "http://new.example:2"
    assert "HF_TOKEN" in environment
    assert "http_proxy" not in environment
    assert "GDAL_DATA" not in environment
    assert "HF_TOKEN" not in clean_environment()


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are POSIX")
def test_child_is_out_of_reach_of_the_terminal() -> None:
    command = [sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, **start_options())
    assert done.stdout.strip() == b"True"


def test_certificates_of_the_application_are_dropped_on_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """QGIS's list hides the certificate that an organisation added to the store of Windows."""
    own = tmp_path / "Program Files" / "Maps 3.44" / "apps" / "openssl" / "cert.pem"
    network_install = tmp_path / "OSGeo4W" / "bin" / "curl-ca-bundle.crt"
    company = tmp_path / "company" / "root.pem"
    for path in (own, network_install, company):
        path.parent.mkdir(parents=True)
        path.touch()
    variables = {
        "OSGEO4W_ROOT": str(tmp_path / "Program Files" / "Maps 3.44"),
        "SSL_CERT_FILE": str(own),
        "SSL_CERT_DIR": str(own.parent),
        "CURL_CA_BUNDLE": str(network_install),
        "REQUESTS_CA_BUNDLE": str(company),
        "PATH": "/bin",
    }
    names = {"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}
    monkeypatch.setattr("sys.platform", "win32")
    assert set(clean_environment(variables)) & names == {"REQUESTS_CA_BUNDLE"}
    monkeypatch.setattr("sys.platform", "linux")
    assert set(clean_environment(variables)) & names == names
