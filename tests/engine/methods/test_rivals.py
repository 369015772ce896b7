"""What was not named competes, unless something named already stands for it."""

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


def test_background_is_a_class_like_any_other() -> None:
    contest = set_up_contest([("Background",), ("road",)], rivals=True)
    assert contest.queries.class_count == contest.named == 2


def test_a_single_class_always_has_rivals() -> None:
    assert set_up_contest([("road",)], rivals=False).queries.class_count == 2
    assert set_up_contest([("road",), ("water",)], rivals=False).queries.class_count == 2
