"""Writes the plugin's zip and checks it as plugins.qgis.org does.

The rules: one folder, at most 25 MB, a licence, complete metadata, no binaries and no build files.
The same files always give the same bytes.
"""

from __future__ import annotations

import argparse
import configparser
import os
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "geoseg_qgis"
MAXIMUM_SIZE = 25_000_000
MOMENT = (1980, 1, 1, 0, 0, 0)
REQUIRED = ("name", "description", "version", "qgisMinimumVersion", "author", "email", "about",
            "tracker", "repository")  # fmt: skip
BUILD_FILES = (".pyc", ".pyo", ".part", ".orig")
REFUSED = (".exe", ".dll", ".so", ".dylib", ".bat", ".cmd", ".sh", ".ps1", ".pyd")


def main() -> int:
    """Write the zip and print its size; return 1 if the plugin repository would refuse it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "geoseg_qgis.zip")
    output: Path = parser.parse_args().output
    files = plugin_files()
    write_zip(files, output)
    problems = [*name_problems(files), *metadata_problems(), *size_problems(output)]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if problems:
        output.unlink()
        return 1
    size = output.stat().st_size
    sys.stdout.write(f"{output}: {len(files)} files, {size / 1e6:.2f} of 25 MB\n")
    return 0


def plugin_files() -> list[Path]:
    """Return the files of the zip in a fixed order."""
    return sorted(
        path
        for path in PACKAGE.rglob("*")
        if path.is_file()
        and path.suffix not in BUILD_FILES
        and not any(
            part.startswith((".", "__pycache__")) for part in path.relative_to(PACKAGE).parts
        )
    )


def write_zip(files: list[Path], output: Path) -> None:
    """Write the files into one folder, all with the same time and mode; links are followed."""
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = output.with_suffix(".part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, path.read_bytes())
    os.replace(draft, output)  # noqa: PTH105


def name_problems(files: list[Path]) -> list[str]:
    """Return the files that are missing or not allowed."""
    names = {path.relative_to(PACKAGE).as_posix() for path in files}
    problems = [f"{name} is missing." for name in ("LICENSE", "__init__.py", "metadata.txt")
                if name not in names]  # fmt: skip
    problems += [f"{name} is a binary or script." for name in sorted(names)
                 if name.lower().endswith(REFUSED)]  # fmt: skip
    return problems


def metadata_problems() -> list[str]:
    """Return what the metadata lacks; the repository reads it with interpolation, too."""
    parser = configparser.ConfigParser()
    parser.read(PACKAGE / "metadata.txt", encoding="utf-8")
    general = dict(parser.items("general"))
    problems = [
        f"metadata.txt has no {name}." for name in REQUIRED if not general.get(name.lower())
    ]
    if "/" in general.get("author", ""):
        problems.append("The author in metadata.txt contains a slash.")
    return problems


def size_problems(output: Path) -> list[str]:
    """Return a sentence if the zip is too large."""
    size = output.stat().st_size
    return [] if size <= MAXIMUM_SIZE else [f"The zip has {size} bytes, more than {MAXIMUM_SIZE}."]


if __name__ == "__main__":
    sys.exit(main())
