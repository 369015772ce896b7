"""Rules for imports, between the packages and in the tests, checked by reading every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "geoseg_qgis"
QGIS_ROOMS = ("gui", "processing", "layers", "engine_client", "protocol")
# Each package of the QGIS half and what it may import besides itself.
MAY_IMPORT = {
    "plugin": {"gui", "processing", "layers", "engine_client", "protocol", "compat", "translation"},
    "gui": {"processing", "layers", "engine_client", "protocol", "compat", "translation"},
    "processing": {"layers", "engine_client", "protocol", "compat", "translation"},
    "layers": {"protocol", "compat", "translation"},
    "engine_client": {"protocol"},
    "protocol": set(),
    "compat": set(),
    "translation": set(),
    "__init__": {"plugin"},
}
# Packages and modules of the engine from the top down: each may import what is below it.
ENGINE_FLOORS = (
    {"server", "cli", "__main__", "arguments", "argument_values", "assess_arguments", "terminal"},
    {"jobs"},
    {"reports"},
    {"methods"},
    {"inference"},
    {"models"},
    {"metrics"},
    {"zoo", "raster", "vector"},
    {"files", "progress", "hardware", "failures", "wire", "json_reader"},
)
# Folders that are not shipped, and which of them each may import.
NOT_SHIPPED = {
    "training": {"training"},
    "benchmarks": {"benchmarks", "training"},
    "scripts": {"scripts", "training", "benchmarks"},
}
PLAIN_PYTHON_ROOMS = ("engine_client", "protocol")
FOREIGN_TO_QGIS_HALF = ("torch", "rasterio", "numpy", "PyQt5", "PyQt6", "sip")
STANDARD = sys.stdlib_module_names | {"__future__"}
CLOCKS = {
    f"time.{clock}{unit}"
    for clock in ("time", "monotonic", "perf_counter", "process_time")
    for unit in ("", "_ns")
}


def modules(*folders: str) -> list[Path]:
    files: list[Path] = []
    for folder in folders:
        place = PACKAGE / folder
        files += [place] if place.is_file() else sorted(place.rglob("*.py"))
    return files


def qgis_half() -> list[Path]:
    return [*sorted(PACKAGE.glob("*.py")), *modules(*QGIS_ROOMS)]


def engine_half() -> list[Path]:
    return modules("engine")


def not_shipped() -> list[Path]:
    return [path for folder in NOT_SHIPPED for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def files_of_tests() -> tuple[Path, ...]:
    folders = [ROOT / "tests", ROOT / "training" / "tests", ROOT / "benchmarks" / "tests"]
    return tuple(path for folder in folders for path in sorted(folder.rglob("*.py")))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> Iterator[str]:
    """Yield absolute dotted names of all imports in a file, those inside functions as well."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = [*base, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*stem, alias.name]) for alias in node.names)


def own_room(name: str) -> str:
    """Return the room of ``geoseg_qgis.room.rest``; empty for other packages."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE.name and len(parts) > 1 else ""


def short(path: Path) -> str:
    return str(path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT))


def test_all_files_are_found() -> None:
    assert len(qgis_half()) > 20
    assert len(engine_half()) > 20
    assert len(not_shipped()) > 20
    assert len(files_of_tests()) > 20
    assert set(imported_names(PACKAGE / "engine_client" / "locate.py")) >= {
        "json",
        "geoseg_qgis.protocol.errors.JobError",
    }


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_qgis_half_imports_only_qgis_and_the_standard_library(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    plain = room in PLAIN_PYTHON_ROOMS
    allowed = STANDARD | {PACKAGE.name} | (set() if plain else {"qgis", "processing"})
    for name in imported_names(path):
        top = name.split(".")[0]
        assert top in allowed, f"{short(path)} imports {name}"
        assert top not in FOREIGN_TO_QGIS_HALF


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_qgis_half_imports_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported_names(path):
        target = own_room(name)
        if target and target != room:
            assert target in MAY_IMPORT[room], f"{short(path)} imports {name}"


@pytest.mark.parametrize("path", qgis_half(), ids=short)
def test_qgis_half_is_python_3_9(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    assert not [node for node in ast.walk(tree) if type(node).__name__ == "Match"]
    if any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)):
        assert "from __future__ import annotations" in text


@pytest.mark.parametrize("path", modules("protocol"), ids=short)
def test_dataclasses_of_the_protocol_are_evaluable_on_python_3_9(path: Path) -> None:
    """`get_type_hints` evaluates them there: ``X | None`` and such would raise."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.AnnAssign):
            assert not [n for n in ast.walk(node.annotation) if isinstance(n, ast.BinOp)]


@pytest.mark.parametrize("path", engine_half(), ids=short)
def test_engine_imports_neither_qgis_nor_what_is_not_shipped(path: Path) -> None:
    for name in imported_names(path):
        top = name.split(".")[0]
        assert top not in ("qgis", "processing", "PyQt5", "PyQt6", "osgeo")
        assert top not in {"tests", *NOT_SHIPPED}, f"{short(path)} imports {name}"
        room = own_room(name)
        assert room in ("", "engine", "protocol", "PLUGIN_VERSION"), f"{short(path)}: {name}"


@pytest.mark.parametrize("path", engine_half(), ids=short)
def test_engine_imports_downwards(path: Path) -> None:
    floors = {room: level for level, rooms in enumerate(ENGINE_FLOORS) for room in rooms}
    room = path.relative_to(PACKAGE / "engine").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for name in imported_names(path):
        parts = name.split(".")
        if parts[:2] != [PACKAGE.name, "engine"] or len(parts) < 3:
            continue
        target = parts[2]
        if target != room:
            assert floors[target] >= floors[room], f"{short(path)} imports {name}"


def test_protocol_imports_the_standard_library_only() -> None:
    for path in modules("protocol"):
        for name in imported_names(path):
            assert name.split(".")[0] in STANDARD or own_room(name) == "protocol", name


def test_folders_that_are_not_shipped_import_one_way() -> None:
    wrong = [
        f"{short(path)} imports {name}"
        for path in not_shipped()
        for name in imported_names(path)
        if name.split(".")[0] in {*NOT_SHIPPED} - NOT_SHIPPED[path.relative_to(ROOT).parts[0]]
    ]
    assert not wrong


@pytest.mark.parametrize("path", [*qgis_half(), *engine_half(), *not_shipped()], ids=short)
def test_no_file_grows_past_600_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


def test_no_test_imports_another_test() -> None:
    names = {path.stem for path in files_of_tests() if path.stem.startswith("test_")} | {"conftest"}
    wrong = [
        f"{short(path)} imports {name}"
        for path in files_of_tests()
        for name in imported_names(path)
        if names.intersection(name.split(".")[:-1] or [name])
    ]
    assert not wrong


def test_no_test_reads_a_clock() -> None:
    """How long something takes depends on the computer; `wait_until` waits without asserting it."""
    waiting = ROOT / "tests" / "support" / "waiting.py"
    wrong = [
        f"{short(path)}, line {node.lineno}"
        for path in files_of_tests()
        if path != waiting
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS)
        or (isinstance(node, ast.ImportFrom) and node.module == "time")
    ]
    assert not wrong


def test_no_test_replaces_a_private_name() -> None:
    """Neither ``setattr(module, "_name", ...)`` nor ``setattr(object._member, "name", ...)``."""
    wrong = [
        f"{short(path)}, line {node.lineno}"
        for path in files_of_tests()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in ("setattr", "delattr")
        for part in ".".join(ast.unparse(a).strip("'\"") for a in node.args[:2]).split(".")
        if part.startswith("_") and not part.startswith("__")
    ]
    assert not wrong


def test_tests_mirror_the_packages() -> None:
    """Each test is in the folder of the package it tests, but for those in QGIS or on a GPU."""
    wrong = []
    for path in files_of_tests():
        folder = path.parent.relative_to(ROOT).parts
        if path.name.startswith("test_") and "qgis" not in folder and "gpu" not in folder:
            tested = (
                (PACKAGE, *folder[1:]) if folder[0] == "tests" else (ROOT, folder[0], *folder[2:])
            )
            if not Path(*tested).is_dir():
                wrong.append(short(path))
    assert not wrong
