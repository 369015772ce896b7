"""The plugin's zip, as the plugin repository would judge it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def write_package(output: Path) -> Path:
    command = [sys.executable, "-m", "scripts.package", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("package") / "geoseg_qgis.zip")


@pytest.mark.slow
def test_one_folder_with_what_the_repository_asks_for(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
        licence = archive.read("geoseg_qgis/LICENSE")
    assert {name.split("/")[0] for name in names} == {"geoseg_qgis"}
    assert {"geoseg_qgis/__init__.py", "geoseg_qgis/metadata.txt"} <= set(names)
    assert b"GNU GENERAL PUBLIC LICENSE" in licence
    assert package.stat().st_size <= 25_000_000


@pytest.mark.slow
def test_locks_are_packed_and_caches_and_training_are_not(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = archive.namelist()
    assert "geoseg_qgis/engine_client/locks/engine.txt" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    folders = {folder for name in names for folder in name.split("/")[:-1]}
    assert not folders & {"training", "benchmarks", "scripts", "tests"}


@pytest.mark.slow
def test_same_files_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    again = write_package(tmp_path / "again.zip")
    assert again.read_bytes() == package.read_bytes()


@pytest.mark.slow
def test_packed_engine_runs(package: Path, tmp_path: Path) -> None:
    """The zip holds everything that the engine imports."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-m", "geoseg_qgis.engine", "models"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gumix-paper" in done.stdout
