"""Links and paths in the documentation lead to files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
CODE_PATH = re.compile(r"`([\w./-]+(?:/|\.py))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_named_files_exist(name: str) -> None:
    """A path starts at the root, the package or the engine; a bare name is somewhere below."""
    package = ROOT / "geoseg_qgis"
    names = {path.name for path in package.rglob("*.py")}
    places = (ROOT, package, package / "engine")
    paths = CODE_PATH.findall((ROOT / name).read_text(encoding="utf-8"))
    assert len(paths) > 5
    assert [
        path
        for path in paths
        if path not in names and not any((place / path).exists() for place in places)
    ] == []
