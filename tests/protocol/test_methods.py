"""Method cards: found by scanning folders, ordered, and left out with a sentence when broken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from geoseg_qgis.protocol.methods import read_methods


def write(path: Path, **card: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"name": path.stem, "title": "Toy", "help": "For tests.", "order": 99, **card}
    path.write_text(json.dumps(whole), encoding="utf-8")


def test_cards_beside_code_and_in_folders_are_found_in_their_order(tmp_path: Path) -> None:
    write(tmp_path / "late.json", order=100)
    write(tmp_path / "early" / "method.json", name="early", order=-1)
    (tmp_path / "early" / "settings.json").write_text("{}", encoding="utf-8")
    found = read_methods("nothing", [tmp_path])
    assert found.names == ("early", "late")
    assert found.cards[0].path == tmp_path / "early" / "method.json"
    assert found.cards[0].foreign
    assert found.problems == ()


def test_folders_are_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one" / "toy.json")
    write(tmp_path / "two" / "other.json")
    folders = (str(tmp_path / "one"), str(tmp_path / "two"))
    monkeypatch.setenv("GEOSEG_METHODS", os.pathsep.join(folders))
    assert read_methods("nothing").names == ("other", "toy")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "not a JSON object"),
        ('{"name": "toy", "title": "Toy"}', "help is missing"),
        ('{"name": "auto", "title": "Toy", "help": "a."}', "'auto' cannot be the name"),
        ('{"name": "a b", "title": "Toy", "help": "a."}', "'a b' cannot be the name"),
        ('{"name": "toy", "title": "Toy", "help": "a.", "order": "1"}', "order is no number"),
        ('{"name": "toy", "title": "Toy", "help": "a.", "needs": "clip"}', "needs are no list"),
    ],
)
def test_broken_cards_are_left_out(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "toy.json").write_text(text, encoding="utf-8")
    write(tmp_path / "good.json")
    found = read_methods("nothing", [tmp_path])
    assert found.names == ("good",)
    (problem,) = found.problems
    assert words in problem


def test_the_first_of_two_cards_with_one_name_counts(tmp_path: Path) -> None:
    write(tmp_path / "one" / "toy.json", title="First")
    write(tmp_path / "two" / "toy.json", title="Second")
    found = read_methods("nothing", [tmp_path / "one", tmp_path / "two"])
    assert [card.title for card in found.cards] == ["First"]
    assert "has the name of another one: toy" in found.problems[0]
