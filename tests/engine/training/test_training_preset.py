"""The shipped preset: small, complete, loadable, and better than chance on real images."""

from pathlib import Path

import pytest
import torch

from geoseg_qgis.engine.models.clip import load_clip
from geoseg_qgis.engine.training.datasets import load_scenes
from geoseg_qgis.engine.training.evaluate import LEGENDS, clip_network, evaluate
from geoseg_qgis.engine.training.train_clip import MEAN, STD
from geoseg_qgis.engine.training.vocabulary import CONCEPTS
from geoseg_qgis.engine.zoo.registry import Origin, catalogue
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary

DATA = Path(__file__).parents[3].parent / "shared" / "data"
LARGEST_PACK = 14_000_000


@pytest.fixture(scope="module")
def preset():
    found = catalogue([Path(__file__).parent / "no-such-folder"]).presets["offline-small"]
    assert found.origin is Origin.BUILT_IN
    return found


def test_the_pack_is_complete_and_small(preset):
    assert preset.missing_files() == []
    assert sum(file.stat().st_size for file in preset.folder.iterdir()) < LARGEST_PACK
    assert {"gumix", "fast", "mask_selection"} <= set(preset.card.methods)


def test_every_taught_word_is_known(preset):
    vocabulary = Vocabulary.read(preset.path(preset.card.vocabulary))
    for concept in CONCEPTS:
        for expression in concept.synonyms:
            assert vocabulary.unknown_words(expression) == []
    assert vocabulary.unknown_words("building, zeppelin") == ["zeppelin"]


@pytest.mark.skipif(not (DATA / "splits.json").is_file(), reason="no folder of labelled images")
def test_unseen_real_images_are_mapped(preset):
    clip = load_clip(preset.card.clip, preset.folder, torch.device("cpu"))
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    scenes = load_scenes(DATA, "validation", ("dubai_landcover",))[4:6]
    make = clip_network(clip.module, clip.tokenizer, "plain", mean, std)
    result = evaluate(make, scenes, {})["dubai_landcover"]
    scores = dict(zip(result.classes, result.iou))
    assert list(scores) == [words[0] for words, _ in LEGENDS["dubai_landcover"]]
    assert scores["water"] > 0.8
    assert scores["bare land"] > 0.7
