"""What people write: classes or an instruction, known and unknown words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoseg_qgis.gui.find.meaning import Kind, completion_start, thresholds_text, understand
from geoseg_qgis.gui.find.vocabulary import ModelCard, Vocabulary, read_card
from geoseg_qgis.protocol.legend import LEGENDS, parse_thresholds

BUILT_IN = read_card("")
OPEN = ModelCard("open")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("  ", Kind.NOTHING),
        ("building; road", Kind.CLASSES),
        ("zebra; crossing", Kind.CLASSES),
        ("water", Kind.CLASSES),
        ("tree crown", Kind.CLASSES),
        ("building, roof, house", Kind.CLASSES),
        ("water =#3060c0", Kind.CLASSES),
        (next(iter(LEGENDS)), Kind.CLASSES),
        ("all buildings", Kind.SENTENCE),
        ("the building next to the pool", Kind.SENTENCE),
        ("where could a boat float?", Kind.SENTENCE),
        ("zebra", Kind.SENTENCE),
    ],
)
def test_what_the_built_in_models_take_it_for(text: str, kind: Kind) -> None:
    assert understand(text, BUILT_IN).kind is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("zebra crossing", Kind.CLASSES),
        ("all zebras", Kind.SENTENCE),
        ("swimming pools with a red roof beside", Kind.SENTENCE),
        ("boat?", Kind.SENTENCE),
    ],
)
def test_what_a_model_without_a_list_of_words_takes_it_for(text: str, kind: Kind) -> None:
    assert understand(text, OPEN).kind is kind


def test_unknown_words_have_a_place() -> None:
    meaning = understand("building; zebra =#a0b0c0, pylons", BUILT_IN)
    assert meaning.problem.startswith("The colour of class 2")
    text = "building =#abcdef; zebra; Roads, pylons"
    meaning = understand(text, BUILT_IN)
    assert [text[start : start + length] for start, length in meaning.unknown] == [
        "zebra",
        "pylons",
    ]
    assert [item.name for item in meaning.classes] == ["building", "zebra", "Roads"]
    assert meaning.classes[0].color == "#abcdef"
    assert understand("zebra; pylon", OPEN).unknown == ()
    sentence = understand("all zebras", BUILT_IN)
    assert sentence.unknown == ((4, 6),)


def test_known_words_complete() -> None:
    assert BUILT_IN.classes.completions("buil") == [
        "building",
        "buildings",
        "building roof",
    ]
    assert BUILT_IN.classes.completions("  ") == []
    assert completion_start("water; par", 10) == "par"
    assert completion_start("water, tree cr", 14) == "tree cr"
    assert "building" in BUILT_IN.classes.similar("bilding")


def test_a_card_of_the_user_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "words.json").write_text(json.dumps({"words": ["Olive"], "classes": {"oil": []}}))
    card = {"vocabulary": {"file": "words.json"}, "pixel_size": {"preferred": 0.5}}
    (folder / "card.json").write_text(json.dumps(card))
    for name, folders in (("mine", [tmp_path]), (str(folder), [])):
        found = read_card(name, folders)
        assert found.classes == Vocabulary(frozenset({"olive", "oil"}), ("oil",))
        assert found.sentences.words is None
        assert found.pixel_size == 0.5
    (folder / "card.json").write_text("[")
    assert read_card("mine", [tmp_path]) == ModelCard("mine")


def test_thresholds_are_those_that_reclassify_reads() -> None:
    names = ["building", "low vegetation"]
    text = thresholds_text({"building": 0.35}, names)
    assert parse_thresholds(text, tuple(names)) == (0.35, 0.0)


def test_a_cell_of_the_network_is_read_from_the_card() -> None:
    # The DINO of the built-in models has patches of 8 pixels.
    assert (BUILT_IN.cell, BUILT_IN.pixel_size) == (8, 0.25)
    assert read_card("gumix-paper").cell in (14, 16)
