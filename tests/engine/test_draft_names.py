"""Drafts have names that any file system takes, whatever the final name."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from geoseg_qgis.engine.files import Draft

CHARACTERS = st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0")


@given(
    st.text(CHARACTERS, min_size=1, max_size=255).filter(lambda name: name not in (".", "..")),
    st.sampled_from(["", ".tif", ".gpkg", ".qml", ".a-very-long-suffix-that-is-none"]),
)
def test_any_name_has_a_draft(stem: str, suffix: str) -> None:
    final = Path("/nowhere") / f"{stem}{suffix}"
    path = Draft(final).path
    assert path.parent == Path(os.path.realpath(final)).parent
    assert len(os.fsencode(path.name)) + len("-journal") <= 255
    assert path != final
    assert path.name.startswith(".")
    assert ".part" in path.name
    if len(suffix) <= 16 and suffix:
        assert path.suffix == suffix
