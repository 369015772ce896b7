"""Stored scenes are those that the generator draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.scenes import generate_scene
from training.scenes.referring import refer
from training.unigeoseg.stored_scenes import SIDE, StoredScene, pixel_size_of, stored_scenes


def test_a_stored_scene_is_the_generated_one(scenes: list[StoredScene], tmp_path: Path) -> None:
    seed = 6
    scene = generate_scene(seed, SIDE, pixel_size_of(seed))
    stored = scenes[1]
    assert np.array_equal(stored.image, scene.image)
    assert np.array_equal(stored.classes, scene.classes)
    assert np.array_equal(stored.instances, scene.instances)
    queries = {query.text: query for query in stored.queries}
    for expression in refer(scene, 3, 40):
        assert np.array_equal(stored.mask(queries[expression.text]), expression.mask)
    again = stored_scenes(tmp_path, (seed,))[0]
    assert again.queries == stored.queries
    assert again.objects == stored.objects == scene.objects
    assert not list(tmp_path.glob("*.part*"))
