"""Which of pip's settings are passed on to uv."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from geoseg_qgis.engine_client import package_index
from geoseg_qgis.engine_client.package_index import (
    index_environment,
    pip_environment,
    trust_environment,
)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Variables of an account without any configuration, on a system without any."""
    monkeypatch.setattr(package_index, "ETC", tmp_path / "etc")
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}


def write_pip_file(account: dict[str, str], text: str) -> None:
    path = Path(account["XDG_CONFIG_HOME"]) / "pip" / "pip.conf"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


def test_without_settings_uv_is_left_alone(account: dict[str, str]) -> None:
    assert index_environment(account) == {}


def test_certificates_of_the_system_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for found, expected in [("/etc/ca.pem", {"UV_SYSTEM_CERTS": "1"}), (None, {})]:
        paths = SimpleNamespace(cafile=found, capath=None)
        monkeypatch.setattr("ssl.get_default_verify_paths", lambda paths=paths: paths)
        assert trust_environment() == expected


def test_pip_file_becomes_variables_of_uv(account: dict[str, str], tmp_path: Path) -> None:
    certificate = tmp_path / "ca.pem"
    certificate.touch()
    write_pip_file(
        account,
        "[global]\n"
        "index-url = https://mirror.example/simple\n"
        f"extra-index-url = https://more.example/simple\n    file://{tmp_path}\n"
        f"    file://{tmp_path}/gone\n"
        f"cert = {certificate}\n"
        "trusted-host = mirror.example\n"
        "find-links = /opt/wheels\n"
        "default-timeout = 90\n"
        "[install]\nproxy = http://proxy.example:3128\n",
    )
    assert index_environment(account) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": f"https://more.example/simple file://{tmp_path}",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "mirror.example",
        "UV_HTTP_TIMEOUT": "90",
        "SSL_CERT_FILE": str(certificate),
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
    }


def test_variables_win_over_files(account: dict[str, str]) -> None:
    write_pip_file(account, "[global]\nindex-url = https://file.example/simple\n")
    account["PIP_INDEX_URL"] = "https://variable.example/simple"
    assert index_environment(account)["UV_DEFAULT_INDEX"] == "https://variable.example/simple"
    assert pip_environment(account) == {"PIP_INDEX_URL": "https://variable.example/simple"}


def test_settings_of_uv_win_over_those_of_pip(account: dict[str, str]) -> None:
    write_pip_file(account, "[global]\nindex-url = https://file.example/simple\n")
    account["UV_DEFAULT_INDEX"] = "https://uv.example/simple"
    assert index_environment(account) == {"UV_DEFAULT_INDEX": "https://uv.example/simple"}


def test_file_of_uv_wins_over_that_of_pip(account: dict[str, str]) -> None:
    write_pip_file(account, "[global]\nindex-url = https://file.example/simple\n")
    folder = Path(account["XDG_CONFIG_HOME"]) / "uv"
    folder.mkdir()
    (folder / "uv.toml").touch()
    assert index_environment(account) == {}


def test_broken_pip_file_is_passed_over(account: dict[str, str]) -> None:
    write_pip_file(account, "index-url without any section\n")
    assert index_environment(account) == {}


def test_proxy_of_the_system_wins(account: dict[str, str]) -> None:
    write_pip_file(account, "[global]\nproxy = http://pip.example:1\n")
    account["https_proxy"] = "http://system.example:2"
    assert "HTTPS_PROXY" not in index_environment(account)
