"""The provider keeps its words: ids, help for everything, plain text in terminals."""

from __future__ import annotations

import html
import re

import pytest
from places import PACKAGE, ROOT
from qgis.core import (
    QgsApplication,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
)

IDS = {
    "geoseg:openvocabulary",
    "geoseg:refer",
    "geoseg:prompts",
    "geoseg:everything",
    "geoseg:learn",
    "geoseg:classify",
    "geoseg:reclassify",
    "geoseg:assess",
    "geoseg:evaluate",
    "geoseg:models",
    "geoseg:setup",
}


def test_ids_are_those_of_the_design(provider) -> None:
    assert {algorithm.id() for algorithm in provider.algorithms()} == IDS


def test_parameters_of_open_vocabulary(provider) -> None:
    algorithm = provider.algorithm("openvocabulary")
    names = {parameter.name() for parameter in algorithm.parameterDefinitions()}
    assert names == {
        "INPUT", "CLASSES", "METHOD", "MODEL", "EXTENT", "RESOLUTION", "BANDS", "STRETCH",
        "THRESHOLD", "RIVALS", "REGIONS", "DEVICE", "MINIMUM_AREA", "MINIMUM_HOLE", "SIMPLIFY",
        "RIGHT_ANGLES", "POINTS_PER_SIDE", "OBJECTS", "OUTPUT", "POLYGONS", "SCORES",
    }  # fmt: skip
    assert {output.name() for output in algorithm.outputDefinitions()} == {
        "OUTPUT", "POLYGONS", "SCORES",
        "CLASSES_FOUND", "POLYGON_COUNT", "CLASSIFIED_AREA", "CLASS_AREAS",
    }  # fmt: skip
    method = algorithm.parameterDefinition("METHOD")
    assert method.usesStaticStrings()
    assert method.options() == ["auto", "gumix", "mask_selection", "fast", "sam3"]


def test_every_algorithm_explains_itself(provider) -> None:
    for algorithm in provider.algorithms():
        assert re.fullmatch(r"[a-z_]+", algorithm.name())
        assert re.fullmatch(r"[a-z_]+", algorithm.groupId())
        assert algorithm.shortDescription().endswith(".")
        assert len(algorithm.tags()) >= 4
        assert not algorithm.icon().isNull()
        for parameter in algorithm.parameterDefinitions():
            assert parameter.help().endswith("."), f"{algorithm.id()} {parameter.name()}"
            assert parameter.description()[0].isupper()
            assert parameter.help() in _without_tags(algorithm.shortHelpString())


def _without_tags(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def test_enums_are_static_words_named_in_their_help(provider) -> None:
    for algorithm in provider.algorithms():
        for parameter in algorithm.parameterDefinitions():
            if isinstance(parameter, QgsProcessingParameterEnum):
                assert parameter.usesStaticStrings()
                assert not parameter.allowMultiple()
                assert all(word in parameter.help() for word in parameter.options())


def test_optional_scores_are_not_made_by_default(provider) -> None:
    scores = provider.algorithm("openvocabulary").parameterDefinition("SCORES")
    optional = QgsProcessingParameterDefinition.Flag.FlagOptional
    assert not scores.createByDefault()
    assert bool(scores.flags() & optional)


def test_new_objects_share_nothing(provider) -> None:
    registry = QgsApplication.processingRegistry()
    first = registry.createAlgorithmById("geoseg:openvocabulary")
    second = registry.createAlgorithmById("geoseg:openvocabulary")
    assert first is not second
    assert type(first) is type(second)


def test_resources_list_every_icon() -> None:
    text = (ROOT / "resources.qrc").read_text(encoding="utf-8")
    listed = set(re.findall(r"<file>(.+?)</file>", text))
    present = {path.relative_to(ROOT).as_posix() for path in (PACKAGE / "icons").iterdir()}
    assert listed == present


@pytest.mark.parametrize("path", sorted((PACKAGE / "icons").iterdir()), ids=lambda path: path.name)
def test_icons_can_be_drawn(path) -> None:
    from qgis.PyQt.QtGui import QImage, QPainter
    from qgis.PyQt.QtSvg import QSvgRenderer

    image = QImage(24, 24, QImage.Format.Format_ARGB32)
    image.fill(0)
    renderer = QSvgRenderer(str(path))
    assert renderer.isValid()
    painter = QPainter(image)
    renderer.render(painter)
    painter.end()
    drawn = sum(image.pixelColor(x, y).alpha() > 128 for x in range(24) for y in range(24))
    assert drawn > 150
