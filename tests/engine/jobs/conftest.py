"""A preset of tiny random networks in the published layouts, and the odd GeoTIFFs."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_scenes import houses, landscape, suburb, tiny
from tiny_preset import tiny_preset
from unigeoseg_golden import text_cases, tiny_model, tiny_weights, toy_tokenizer

__all__ = [
    "houses",
    "landscape",
    "suburb",
    "text_cases",
    "tiny",
    "tiny_model",
    "tiny_preset",
    "tiny_weights",
    "toy_tokenizer",
]
ODD_RASTERS = Path(__file__).parents[3].parent / "shared" / "data" / "odd_geotiffs" / "images"


@pytest.fixture
def odd_rasters() -> Path:
    """The folder of odd GeoTIFFs."""
    if not ODD_RASTERS.is_dir():
        pytest.skip("the odd GeoTIFFs (shared/data/odd_geotiffs) are not beside the checkout")
    return ODD_RASTERS


@pytest.fixture(autouse=True)
def unfinished(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the finished tiles of runs that tests stop out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
