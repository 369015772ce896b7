"""Rules for imports, between the packages and in the tests, checked by reading every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

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
    {"server", "cli", "__main__", "arguments", "terminal"},
    {"interactive"},
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
STANDARD = sys.stdlib_module_names | {"__future__"}
CLOCKS = {
    f"{clock}{unit}"
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


@cache
def imported_names(path: Path) -> tuple[str, ...]:
    """Return absolute dotted names of all imports in a file, those inside functions as well."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names: list[str] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = [*base, *(node.module.split(".") if node.module else [])]
            names += [".".join([*stem, alias.name]) for alias in node.names]
    return tuple(names)


def imports(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Yield each file with each name that it imports."""
    for path in paths:
        for name in imported_names(path):
            yield path, name


def own_room(name: str) -> str:
    """Return the room of ``geoseg_qgis.room.rest``; empty for other packages."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE.name and len(parts) > 1 else ""


def room_of(path: Path, parent: Path = PACKAGE) -> str:
    """Return the package or module directly below ``parent`` that a file belongs to."""
    return path.relative_to(parent).parts[0].removesuffix(".py")


def is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_all_files_are_found() -> None:
    assert len(qgis_half()) > 20
    assert len(engine_half()) > 20
    assert len(not_shipped()) > 20
    assert len(files_of_tests()) > 20
    assert set(imported_names(PACKAGE / "engine_client" / "locate.py")) >= {
        "json",
        "geoseg_qgis.protocol.errors.JobError",
    }


def test_qgis_half_imports_only_qgis_and_the_standard_library() -> None:
    wrong = []
    for path, name in imports(qgis_half()):
        also = set() if room_of(path) in PLAIN_PYTHON_ROOMS else {"qgis", "processing"}
        if name.split(".")[0] not in STANDARD | {PACKAGE.name} | also:
            wrong.append((short(path), name))
    assert not wrong


def test_qgis_half_imports_one_way() -> None:
    wrong = [
        (short(path), name)
        for path, name in imports(qgis_half())
        if own_room(name) not in {"", room_of(path), *MAY_IMPORT[room_of(path)]}
    ]
    assert not wrong


def test_qgis_half_is_python_3_9() -> None:
    for path in qgis_half():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, feature_version=(3, 9))
        assert not [node for node in ast.walk(tree) if type(node).__name__ == "Match"], path
        if any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)):
            assert "from __future__ import annotations" in text, path


def test_dataclasses_of_the_protocol_are_evaluable_on_python_3_9() -> None:
    """`get_type_hints` evaluates them there: ``X | None`` and such would raise."""
    wrong = [
        (short(path), node.lineno)
        for path in modules("protocol")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.AnnAssign)
        and any(isinstance(inner, ast.BinOp) for inner in ast.walk(node.annotation))
    ]
    assert not wrong


def test_protocol_imports_the_standard_library_only() -> None:
    wrong = [
        (short(path), name)
        for path, name in imports(modules("protocol"))
        if name.split(".")[0] not in STANDARD and own_room(name) != "protocol"
    ]
    assert not wrong


def test_engine_imports_neither_qgis_nor_what_is_not_shipped() -> None:
    foreign = {"qgis", "processing", "PyQt5", "PyQt6", "osgeo", "tests", *NOT_SHIPPED}
    wrong = [
        (short(path), name)
        for path, name in imports(engine_half())
        if name.split(".")[0] in foreign
        or own_room(name) not in ("", "engine", "protocol", "PLUGIN_VERSION")
    ]
    assert not wrong


def test_engine_imports_downwards() -> None:
    floors = {room: level for level, rooms in enumerate(ENGINE_FLOORS) for room in rooms}
    wrong = []
    for path, name in imports(engine_half()):
        room = room_of(path, PACKAGE / "engine")
        parts = name.split(".")
        if parts[:2] != [PACKAGE.name, "engine"] or len(parts) < 3 or room == "__init__":
            continue
        if parts[2] != room and floors[parts[2]] < floors[room]:
            wrong.append((short(path), name))
    assert not wrong


def test_folders_that_are_not_shipped_import_one_way() -> None:
    wrong = [
        (short(path), name)
        for path, name in imports(not_shipped())
        if name.split(".")[0] in {*NOT_SHIPPED} - NOT_SHIPPED[room_of(path, ROOT)]
    ]
    assert not wrong


def test_no_file_grows_past_600_lines() -> None:
    lines = {
        short(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in [*qgis_half(), *engine_half(), *not_shipped()]
    }
    assert max(lines.values()) <= 600, max(lines, key=lambda path: lines[path])


def test_no_test_imports_another_test() -> None:
    names = {path.stem for path in files_of_tests() if path.stem.startswith("test_")} | {"conftest"}
    wrong = [
        (short(path), name)
        for path, name in imports(files_of_tests())
        if names.intersection(name.split(".")[:-1] or [name])
    ]
    assert not wrong


def test_no_test_reads_a_clock() -> None:
    """How long something takes depends on the computer; `wait_until` waits without asserting it."""
    waiting = ROOT / "tests" / "support" / "waiting.py"
    wrong = [
        (short(path), node.lineno)
        for path in files_of_tests()
        if path != waiting
        for node in ast.walk(tree_of(path))
        if (isinstance(node, ast.Attribute) and node.attr in CLOCKS and is_name(node.value, "time"))
        or (isinstance(node, ast.ImportFrom) and node.module == "time")
    ]
    assert not wrong


def test_no_test_replaces_a_private_name() -> None:
    """Neither ``setattr(module, "_name", ...)`` nor ``setattr(object._member, "name", ...)``."""
    wrong = [
        (short(path), node.lineno)
        for path in files_of_tests()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("setattr", "delattr")
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
