"""The shipped preset: small, complete, loadable, and better than chance on real images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from geoseg_qgis.engine.models.clip import load_clip
from geoseg_qgis.engine.zoo.registry import Origin, catalogue
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary
from training.datasets import load_images
from training.evaluate import LEGENDS, clip_network, evaluate
from training.scenes import generate_scene
from training.sizes import LARGE_FROM, SMALL_UP_TO
from training.train_clip import MEAN, STD
from training.vocabulary import ADJECTIVES, CONCEPTS

DATA = Path(__file__).parents[2].parent / "shared" / "data"
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
    for expressions in (*(concept.synonyms for concept in CONCEPTS), *ADJECTIVES.values()):
        for expression in expressions:
            assert vocabulary.unknown_words(expression) == []
    assert vocabulary.unknown_words("building, zeppelin") == ["zeppelin"]


@pytest.fixture(scope="module")
def drawn():
    """Drawn places that no training saw, as pixels (3, S, S) with what they show."""
    scenes = [
        generate_scene(seed, 224, 0.25, "industrial" if seed % 2 else "suburb")
        for seed in range(9_000_000, 9_000_012)
    ]
    return [(torch.from_numpy(s.image.transpose(2, 0, 1).copy()) / 255, s) for s in scenes]


@pytest.fixture(scope="module")
def ask(preset):
    """Returns the logits (K, S, S) of some words over some pixels."""
    clip = load_clip(preset.card.clip, preset.folder, torch.device("cpu"))
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    make = clip_network(clip.module, clip.tokenizer, "plain", mean, std)

    def asked(words, pixels):
        with torch.inference_mode():
            cells = make([[word] for word in words])(pixels[None])
        return functional.interpolate(cells, pixels.shape[1:], mode="bilinear")[0]

    return asked


@pytest.mark.slow
def test_roofs_are_told_apart_by_their_colours(drawn, ask):
    colours = ("red", "blue", "white", "black")
    right = {}
    for pixels, scene in drawn:
        logits = ask([f"{colour} roof" for colour in colours], pixels)
        for thing in scene.objects:
            roof = torch.from_numpy(scene.instances == thing.instance)
            if thing.class_name == "building" and thing.colour in colours and roof.sum() > 200:
                best = colours[int(logits[:, roof].mean(1).argmax())]
                right.setdefault(thing.colour, []).append(best == thing.colour)
    assert min(len(right["red"]), len(right["white"])) >= 5
    assert np.mean([np.mean(found) for found in right.values()]) > 0.7


@pytest.mark.slow
def test_large_buildings_are_told_from_small_ones(drawn, ask):
    larger = {"small": [], "large": []}
    for pixels, scene in drawn:
        small, large = ask(["small building", "large building"], pixels)
        for thing in scene.objects:
            roof = torch.from_numpy(scene.instances == thing.instance)
            if thing.class_name == "building" and 200 < roof.sum() <= SMALL_UP_TO:
                larger["small"].append(float((large - small)[roof].mean()))
            elif thing.class_name == "building" and roof.sum() >= LARGE_FROM:
                larger["large"].append(float((large - small)[roof].mean()))
    assert min(map(len, larger.values())) >= 5
    pairs = [high > low for high in larger["large"] for low in larger["small"]]
    assert np.mean(pairs) > 0.8


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "splits.json").is_file(), reason="no folder of labelled images")
def test_unseen_real_images_are_mapped(preset):
    clip = load_clip(preset.card.clip, preset.folder, torch.device("cpu"))
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    scenes = load_images(DATA, "validation", ("dubai_landcover",))[4:6]
    make = clip_network(clip.module, clip.tokenizer, "plain", mean, std)
    result = evaluate(make, scenes, {})["dubai_landcover"]
    scores = dict(zip(result.classes, result.iou))
    assert list(scores) == [words[0] for words, _ in LEGENDS["dubai_landcover"]]
    assert scores["water"] > 0.8
    assert scores["bare land"] > 0.7
