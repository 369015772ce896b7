"""Colours of roofs: named as people name them, taken from the roof alone, named in queries."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from training.colours import (
    ANY_COLOUR,
    COLOUR_BIT,
    COLOURS,
    hue_saturation_value,
    possible_colours,
    with_roof_colours,
)
from training.generated import class_surfaces
from training.land_cover import ANY, BIT, all_but
from training.scenes import generate_scene
from training.vocabulary import COLOURED_SHARE, QuerySampler, vocabulary_card


def pixels_of(*colours: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(colours).T[None, :, None]


def names(bits: int) -> set[str]:
    return {name for name in COLOURS if bits & COLOUR_BIT[name]}


def test_hue_saturation_and_value_are_those_of_the_standard_library() -> None:
    colours = np.random.default_rng(0).random((200, 3)).astype(np.float32)
    found = hue_saturation_value(pixels_of(*map(tuple, colours)))[:, 0, 0].T.numpy()
    expected = np.array([colorsys.rgb_to_hsv(*map(float, colour)) for colour in colours])
    assert np.allclose(found[:, 1:], expected[:, 1:], atol=1e-5)
    assert np.allclose((found[:, 0] - 360 * expected[:, 0] + 180) % 360 - 180, 0, atol=1e-2)


@pytest.mark.parametrize(
    ("colour", "called"),
    [
        ((150, 88, 70), {"red", "brown"}),
        ((172, 42, 40), {"red"}),
        ((60, 90, 150), {"blue"}),
        ((88, 132, 92), {"green"}),
        ((230, 230, 226), {"white"}),
        ((118, 118, 118), {"grey"}),
        ((30, 30, 32), {"black"}),
        ((205, 192, 168), {"beige"}),
        ((255, 0, 255), set(COLOURS)),
    ],
)
def test_colours_have_the_names_that_people_use(
    colour: tuple[int, int, int], called: set[str]
) -> None:
    red, green, blue = (part / 255 for part in colour)
    assert names(int(possible_colours(pixels_of((red, green, blue))))) == called


def test_a_roof_is_named_by_itself_and_nothing_else_is() -> None:
    pixels = torch.zeros(1, 3, 32, 32)
    pixels[0, 2] = 0.8  # blue all round
    pixels[0, :, 8:24, 8:24] = torch.tensor([0.7, 0.15, 0.15])[:, None, None]
    labels = torch.full((1, 32, 32), all_but("building"))
    labels[0, 8:24, 8:24] = BIT["building"]
    labels[0, :4, :4] = 0
    labels[0, :4, 28:] = BIT["building"] | BIT["road"]
    named = with_roof_colours(pixels, labels, 4)
    assert named.shape == (1, 8, 8)
    assert (named[0, 2:6, 2:6] == BIT["building"] | COLOUR_BIT["red"]).all()
    assert named[0, 0, 0] == 0
    assert named[0, 0, 7] == BIT["building"] | BIT["road"] | ANY_COLOUR
    assert named[0, 7, 7] == all_but("building")


@pytest.mark.slow
def test_drawn_roofs_have_the_colours_that_were_drawn() -> None:
    right = seen = 0
    for seed in range(6):
        scene = generate_scene(seed, 256, 0.3, "suburb")
        pixels = torch.from_numpy(scene.image.transpose(2, 0, 1).copy())[None].float() / 255
        labels = torch.from_numpy(class_surfaces()[scene.classes].astype(np.int64))[None]
        named = with_roof_colours(pixels, labels, 4)[0].numpy()
        instances = scene.instances[2::4, 2::4]
        for item in scene.objects:
            if item.class_name == "building" and item.colour in COLOURS:
                cells = named[instances == item.instance]
                right += int(((cells & COLOUR_BIT[item.colour]) != 0).sum())
                seen += len(cells)
    assert seen > 500
    assert right / seen > 0.85


def test_coloured_queries_leave_no_roof_without_a_place() -> None:
    """Either all other colours have a query, or the rest takes them when there is one."""
    sampler = QuerySampler(3)
    steps = [sampler.queries() for _ in range(300)]
    coloured = [step for step in steps if any(mask & ANY_COLOUR for mask in step.surfaces)]
    assert len(coloured) == pytest.approx(COLOURED_SHARE * len(steps), rel=0.25)
    for step in coloured:
        assert not any(mask & BIT["building"] for mask in step.surfaces)
        roofs = [mask & ANY_COLOUR for mask in step.surfaces if mask & ANY_COLOUR]
        assert sum(roofs) <= ANY_COLOUR  # no colour is in two queries
    rest = [step for step in steps if step not in coloured]
    whole = [step for step in rest if all(mask <= ANY for mask in step.surfaces)]
    assert len(whole) > 120
    assert any(mask & BIT["building"] for step in whole for mask in step.surfaces)


def test_people_may_type_colours_and_sizes() -> None:
    words = vocabulary_card()["words"]
    assert isinstance(words, list)
    assert {*COLOURS, "small", "large", "big"} <= set(words)
