"""Which Python the engine gets, and what is said when there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from geoseg_qgis.engine_client import (
    EngineLocation,
    default_destination,
    engine_ready,
    locate,
    locate_engine,
)
from geoseg_qgis.engine_client.locate import (
    CRASH_MARKER,
    DATA_VARIABLE,
    PYTHON_VARIABLE,
    STAMP,
    environment_python,
    lock_hash,
)
from geoseg_qgis.protocol.errors import ErrorCode, JobError


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An account and a checkout without any engine."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(locate, "PACKAGE", tmp_path / "checkout" / "geoseg_qgis")


def make_environment(folder: Path, stamp: dict[str, str] | None = None) -> str:
    python = environment_python(folder)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    if stamp is not None:
        (folder / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    return str(python)


def test_nothing_installed_names_the_next_step() -> None:
    with pytest.raises(JobError) as caught:
        locate_engine()
    assert caught.value.code is ErrorCode.ENGINE_MISSING
    ready, reason = engine_ready()
    assert not ready
    assert reason == str(caught.value)
    assert "geoseg:setup" in reason


def test_order_is_variable_setting_checkout_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    account = make_environment(default_destination(), {"lock": lock_hash()})
    assert locate_engine() == EngineLocation(account, "user")
    checkout = make_environment(tmp_path / "checkout" / ".venv")
    assert locate_engine() == EngineLocation(checkout, "checkout")
    setting = make_environment(tmp_path / "setting")
    assert locate_engine(setting) == EngineLocation(setting, "setting")
    assert locate_engine(str(tmp_path / "setting")) == EngineLocation(setting, "setting")
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    assert locate_engine(setting) == EngineLocation(sys.executable, "variable")
    assert engine_ready() == (True, "")


def test_wrong_setting_is_not_passed_over(tmp_path: Path) -> None:
    make_environment(default_destination(), {"lock": lock_hash()})
    with pytest.raises(JobError) as caught:
        locate_engine(str(tmp_path / "nothing"))
    assert "the GeoSeg options" in caught.value.message
    assert str(tmp_path / "nothing") in caught.value.message


def test_unfinished_installation_is_not_used() -> None:
    make_environment(default_destination(), {"lock": lock_hash()})
    (default_destination() / CRASH_MARKER).touch()
    assert not engine_ready()[0]


@pytest.mark.parametrize("stamp", [None, {"lock": "0" * 64}])
def test_environment_of_another_lock_is_not_used(stamp: dict[str, str] | None) -> None:
    make_environment(default_destination(), stamp)
    assert not engine_ready()[0]


def test_name_of_the_environment_carries_the_lock() -> None:
    assert default_destination().name == f"engine-{lock_hash()[:12]}"
