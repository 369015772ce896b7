"""Recorded tensors of UniGeoSeg, and two drawn scenes with a tokenizer of their words."""

from __future__ import annotations

import pytest
from unigeoseg_golden import golden, text_cases, tiny_model, tiny_weights, toy_tokenizer

from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer
from training.unigeoseg.built_in import build_tokenizer
from training.unigeoseg.stored_scenes import StoredScene, stored_scenes

__all__ = ["golden", "text_cases", "tiny_model", "tiny_weights", "toy_tokenizer"]


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[StoredScene]:
    return stored_scenes(tmp_path_factory.mktemp("scenes"), (5, 6))


@pytest.fixture(scope="session")
def tokenizer(
    scenes: list[StoredScene], tmp_path_factory: pytest.TempPathFactory
) -> BytePairTokenizer:
    return build_tokenizer(tmp_path_factory.mktemp("run"), scenes)
