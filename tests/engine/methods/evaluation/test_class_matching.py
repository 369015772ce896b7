"""Which class of a result stands for which class of a reference."""

from __future__ import annotations

import pytest

from geoseg_qgis.engine.methods.evaluation.class_matching import MatchedClass, match_classes
from geoseg_qgis.engine.methods.evaluation.layer_classes import LayerClasses, Value
from geoseg_qgis.protocol.errors import ErrorCode, JobError

Names = dict[Value, tuple[str, ...]]
LEFT_OUT = 255


def result(values: tuple[Value, ...], names: Names | None = None) -> LayerClasses:
    return LayerClasses("result", values, names or {})


def reference(
    values: tuple[Value, ...], names: Names | None = None, is_raster: bool = True
) -> LayerClasses:
    return LayerClasses("reference", values, names or {}, is_raster)


def polygons(*texts: str) -> LayerClasses:
    names: Names = {text: (text,) for text in texts}
    return reference((0, *texts), names, is_raster=False)


def test_names_go_before_numbers() -> None:
    first = result((0, 1, 2), {1: ("road",), 2: ("building", "house")})
    second = reference((0, 1, 2), {1: ("House",), 2: ("road",)})
    matching = match_classes(first, second, "", "")
    assert matching.classes == (
        MatchedClass("road", [1], [2]),
        MatchedClass("building", [2], [1]),
    )
    assert matching.manner == "by name"
    assert [matching.result_code(value) for value in (0, 1, 2)] == [0, 1, 2]
    assert [matching.reference_code(value) for value in (0, 1, 2)] == [LEFT_OUT, 2, 1]


def test_numbers_where_one_side_has_no_names() -> None:
    matching = match_classes(result((1, 2), {1: ("road",)}), reference((1, 2, 3)), "", "")
    assert matching.manner == "by number"
    assert [item.name for item in matching.classes] == ["road", "2", "3"]
    assert not matching.classes[2].is_shared


@pytest.mark.parametrize(
    ("values", "is_raster", "ignored"),
    [
        ((0, 1), True, {255}),
        ((0, 1, 2), True, {0, 255}),
        ((0, 255), True, set()),
        ((0, 1, 255), True, {255}),
        ((0, 1, 2, 255), False, set()),
    ],
)
def test_what_is_left_out_unasked(
    values: tuple[Value, ...], is_raster: bool, ignored: set[Value]
) -> None:
    second = reference(values, is_raster=is_raster)
    assert match_classes(result((0, 1, 255)), second, "", "").ignored == ignored


@pytest.mark.parametrize(
    ("text", "ignored"), [("none", set()), ("0", {0}), ("0, 9", {0, 9}), ("Road; 2", {1, 2})]
)
def test_what_is_left_out_by_wish(text: str, ignored: set[Value]) -> None:
    second = reference((0, 1, 2, 3), {1: ("road",)})
    assert match_classes(result((1, 2, 3)), second, "", text).ignored == ignored


def test_mask_of_another_value_is_the_only_class() -> None:
    matching = match_classes(result((0, 1), {1: ("building",)}), reference((0, 255)), "", "")
    assert matching.classes == (MatchedClass("building", [1], [255]),)
    assert [matching.reference_code(value) for value in (0, 255)] == [0, 1]


def test_background_of_the_result_is_no_class() -> None:
    names: Names = {1: ("background",), 2: ("building",)}
    for second in (reference((0, 1)), polygons("building")):
        matching = match_classes(result((1, 2), names), second, "", "")
        assert [item.name for item in matching.classes] == ["building"]
        assert matching.result_code(1) == 0
        assert matching.result_code(2) == 1


def test_background_that_both_know_is_a_class() -> None:
    names: Names = {1: ("background",), 2: ("building",)}
    matching = match_classes(result((1, 2), names), reference((0, 1, 2), names), "", "")
    assert [item.name for item in matching.classes] == ["background", "building"]


def test_mapping() -> None:
    first = result((0, 1, 2, 3), {1: ("house",), 2: ("shed",), 3: ("road",)})
    second = reference((0, 10, 20, 30, 255))
    matching = match_classes(first, second, "house, shed = 10\n 3 = 20, 30;", "")
    assert matching.classes == (
        MatchedClass("house", [1, 2], [10]),
        MatchedClass("3", [3], [20, 30]),
    )
    assert [matching.reference_code(v) for v in (0, 10, 20, 255)] == [LEFT_OUT, 1, 2, LEFT_OUT]


def test_values_outside_of_the_mapping_are_no_class() -> None:
    matching = match_classes(result((1, 2)), reference((0, 1, 2)), "1 = 2", "")
    assert matching.result_code(2) == 0
    assert matching.reference_code(1) == 0
    assert matching.reference_code(0) == LEFT_OUT


def test_mapping_of_0_keeps_it() -> None:
    matching = match_classes(result((1, 2)), reference((0, 1, 2)), "1 = 0; 2 = 1", "")
    assert matching.reference_code(0) == 1


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ("building", "'building' in the mapping does not read"),
        ("1 = = 2", "'1 = = 2' in the mapping does not read"),
        ("1, = 2", "'1, = 2' in the mapping does not read"),
        ("roof = 1", "names 'roof', which the result does not hold"),
        ("1 = 1; 1 = 2", "names 1 (building) of the result twice"),
    ],
)
def test_mistakes_in_the_mapping(mapping: str, sentence: str) -> None:
    first = result((0, 1), {1: ("building",)})
    with pytest.raises(JobError) as caught:
        match_classes(first, reference((1, 2)), mapping, "")
    assert sentence in caught.value.message
    assert caught.value.code is ErrorCode.INVALID_CLASSES


def test_no_common_class_shows_a_way() -> None:
    first = result((1, 2), {1: ("building",), 2: ("road",)})
    with pytest.raises(JobError) as caught:
        match_classes(first, polygons("house", "street"), "", "")
    assert "the result holds 1 (building), 2 (road); the reference holds house, street." in (
        caught.value.message
    )
    assert "such as building = house" in caught.value.hint


def test_two_named_classes_are_not_taken_for_each_other() -> None:
    with pytest.raises(JobError, match="No class of the result"):
        match_classes(result((1,), {1: ("water",)}), polygons("building"), "", "")


def test_result_without_any_class_is_all_missed() -> None:
    matching = match_classes(result((0,)), reference((0, 1)), "", "")
    assert matching.classes == (MatchedClass("1", [], [1]),)


def test_nothing_on_both_sides() -> None:
    with pytest.raises(JobError, match="Neither the result nor the reference holds a class"):
        match_classes(result((0,)), reference((0,)), "", "")
