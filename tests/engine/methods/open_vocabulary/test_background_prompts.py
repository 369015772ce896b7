"""What was not named competes, unless something named already stands for it."""

import pytest

from geoseg_qgis.engine.methods.open_vocabulary.background_prompts import add_background_prompts


def test_rivals_are_one_more_class_behind_the_named_ones() -> None:
    contest = add_background_prompts([("road",), ("tree", "forest")], rivals=True)
    queries = contest.queries
    assert contest.named == 2
    assert queries.class_count == 3
    assert queries.queries[:3] == ("road", "tree", "forest")
    assert set(queries.class_index[3:]) == {2}
    unnamed = set(queries.queries[3:])
    assert {"water", "building", "background"} <= unnamed
    assert not unnamed & {"road", "street", "tree", "forest"}


def test_wider_words_silence_their_parts() -> None:
    unnamed = add_background_prompts([("vegetation",)], rivals=True).queries.queries[1:]
    assert not set(unnamed) & {"tree", "forest", "grass", "field"}


@pytest.mark.parametrize(
    ("named", "rival"),
    [
        ("bare land", "bare soil"), ("dirt", "sand"), ("buildings", "building"),
        ("Houses", "roof"), ("roads", "road"), ("trees", "tree"), ("rangeland", "grass"),
        ("crops", "field"), ("canal", "water"), ("cars", "car"),
    ],
)  # fmt: skip
def test_nothing_competes_with_itself_under_another_name(named: str, rival: str) -> None:
    assert rival in add_background_prompts([("ship",)], rivals=True).queries.queries
    assert rival not in add_background_prompts([(named,), ("ship",)], rivals=True).queries.queries


def test_a_kind_of_thing_competes_with_the_rest_of_its_kind() -> None:
    assert "roof" in add_background_prompts([("red roof",)], rivals=True).queries.queries


def test_background_is_a_class_like_any_other() -> None:
    contest = add_background_prompts([("Background",), ("road",)], rivals=True)
    assert contest.queries.class_count == contest.named == 2


def test_a_single_class_always_has_rivals() -> None:
    assert add_background_prompts([("road",)], rivals=False).queries.class_count == 2
    assert add_background_prompts([("road",), ("water",)], rivals=False).queries.class_count == 2
