"""What was not named competes, unless something named already stands for it."""

import pytest

from geoseg_qgis.engine.methods.rivals import set_up_contest


def test_rivals_are_one_more_class_behind_the_named_ones() -> None:
    contest = set_up_contest([("road",), ("tree", "forest")], rivals=True)
    queries = contest.queries
    assert contest.named == 2
    assert queries.class_count == 3
    assert queries.queries[:3] == ("road", "tree", "forest")
    assert set(queries.class_index[3:]) == {2}
    unnamed = set(queries.queries[3:])
    assert {"water", "building", "background"} <= unnamed
    assert not unnamed & {"road", "street", "tree", "forest"}


def test_wider_words_silence_their_parts() -> None:
    unnamed = set_up_contest([("vegetation",)], rivals=True).queries.queries[1:]
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
    assert rival in set_up_contest([("ship",)], rivals=True).queries.queries
    assert rival not in set_up_contest([(named,), ("ship",)], rivals=True).queries.queries


def test_a_kind_of_thing_competes_with_the_rest_of_its_kind() -> None:
    assert "roof" in set_up_contest([("red roof",)], rivals=True).queries.queries


def test_background_is_a_class_like_any_other() -> None:
    contest = set_up_contest([("Background",), ("road",)], rivals=True)
    assert contest.queries.class_count == contest.named == 2


def test_a_single_class_always_has_rivals() -> None:
    assert set_up_contest([("road",)], rivals=False).queries.class_count == 2
    assert set_up_contest([("road",), ("water",)], rivals=False).queries.class_count == 2
