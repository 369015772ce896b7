"""Class text: what people type, and what they mistype."""

import pytest

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.legend import LEGENDS, format_classes, parse_classes, parse_thresholds


def test_synonyms_and_colors() -> None:
    classes = parse_classes("building, roof,  house ; road =#808080;\nwater;")
    assert [item.synonyms for item in classes] == [
        ("building", "roof", "house"),
        ("road",),
        ("water",),
    ]
    assert [item.class_id for item in classes] == [1, 2, 3]
    assert classes[1].color == "#808080"
    assert classes[2].color == "#2171b5"


def test_every_legend_parses_and_round_trips() -> None:
    for name, text in LEGENDS.items():
        classes = parse_classes(name.upper())
        assert classes == parse_classes(text)
        assert parse_classes(format_classes(classes)) == classes
        assert len({item.color for item in classes}) == len(classes)


def test_default_colors_are_distinct_for_many_classes() -> None:
    classes = parse_classes(";".join(f"thing {number}" for number in range(60)))
    assert len({item.color for item in classes}) == 60


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "No classes"),
        (" ; ; ", "No classes"),
        ("road;;water", "Class 2"),
        ("road; Road", "'Road'"),
        ("road =#12; water", "colour"),
        (";".join(str(number) for number in range(255)), "255"),
    ],
)
def test_mistakes_are_named(text: str, word: str) -> None:
    with pytest.raises(JobError, match=word) as caught:
        parse_classes(text)
    assert caught.value.code is ErrorCode.INVALID_CLASSES
    assert caught.value.hint


def test_thresholds() -> None:
    assert parse_thresholds("0.4", ("road", "water")) == (0.4, 0.4)
    assert parse_thresholds("Water: 0.7", ("road", "water")) == (0.0, 0.7)
    with pytest.raises(JobError, match="pond"):
        parse_thresholds("pond: 0.5", ("road", "water"))
    with pytest.raises(JobError, match="not a threshold"):
        parse_thresholds("40", ("road",))
