"""Maps of CLIP that SegAssess learns from are renewed with its weights."""

from pathlib import Path

import numpy as np
import pytest

from training.segassess.foreign_maps import made_by, source_of, stored_makers


def test_sources_are_named_on_the_command_line() -> None:
    assert source_of("clip-x:plain:0.6") == ("clip-x", "plain", 0.6)
    with pytest.raises(ValueError, match="unpack"):
        source_of("clip-x")


def test_maps_of_other_weights_are_told_apart(tmp_path: Path) -> None:
    run = tmp_path / "clip"
    run.mkdir()
    sources = [("clip", "fast", 1.0), ("clip", "plain", 0.6)]
    (run / "checkpoint.pt").write_bytes(b"one")
    first = made_by(sources, tmp_path)
    np.savez(tmp_path / "a.npz", maps=np.zeros((2, 4, 4), np.uint8), made_by=first)
    assert stored_makers(tmp_path / "a.npz") == first
    assert [one.rsplit(" ", 1)[0] for one in first] == ["clip fast 1", "clip plain 0.6"]
    (run / "checkpoint.pt").write_bytes(b"two")
    assert made_by(sources, tmp_path) != first
    assert stored_makers(tmp_path / "b.npz") == []
