"""Settings, their JSON overrides and the rule of the spatial blocks."""

from __future__ import annotations

import json

import pytest

from geoseg_qgis.engine.methods.open_vocabulary.gumix.settings import GumixSettings
from geoseg_qgis.protocol.errors import JobError


def test_published_constants() -> None:
    settings = GumixSettings.paper()
    assert (settings.window, settings.stride, settings.pad_multiple) == (336, 112, 56)
    assert settings.scales == (1.0, 1.5)
    assert settings.pixel_mean == pytest.approx([255 * x for x in settings.clip_mean], abs=1e-3)
    assert settings.pixel_std == pytest.approx([255 * x for x in settings.clip_std], abs=1e-3)
    assert settings.first_id_is_unsegmented
    assert not GumixSettings.geo().first_id_is_unsegmented


def test_overrides_from_json() -> None:
    text = '{"window": 224, "scales": [1, 2], "proposals": {"points_per_side": 8}}'
    settings = GumixSettings.geo().with_overrides(json.loads(text))
    assert settings.window == 224
    assert settings.scales == (1.0, 2.0)
    assert settings.proposals.points_per_side == 8
    assert settings.proposals.predicted_iou_threshold == 0.4
    assert settings.stride == 112
    assert settings.diagonal_always_allowed


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"windows": 1}, "card.gumix.windows is not a known member"),
        ({"proposals": {"points": 1}}, "card.gumix.proposals.points is not a known member"),
        ({"proposals": 3}, "card.gumix.proposals must be an object"),
        ({"window": 2.5}, "card.gumix.window must be a whole number, not 2.5"),
        ({"window": True}, "card.gumix.window must be a whole number, not true"),
        ({"padding_is_region": 1}, "card.gumix.padding_is_region must be true or false"),
        ({"logit_scale": "40"}, "card.gumix.logit_scale must be a number"),
        ({"scales": [1, "2"]}, r"card.gumix.scales\[1\] must be a number"),
        ({"scales": [1.5, 1.0]}, "ascending"),
        ({"layer_weights": [1.0]}, "same length"),
        ({"stride": 0}, "at least 1"),
    ],
)
def test_refused_overrides(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(JobError, match=message):
        GumixSettings.paper().with_overrides(overrides)


def test_spatial_blocks() -> None:
    settings = GumixSettings.paper()
    assert settings.spatial_blocks(32) == range(2, 30)
    assert settings.spatial_blocks(24) == range(10, 22)
    assert settings.spatial_blocks(12) == range(5, 10)
    assert settings.spatial_blocks(6) == range(2, 4)
    with pytest.raises(ValueError, match="spatial_block_count"):
        settings.spatial_blocks(4)
    assert settings.with_overrides({"spatial_block_count": 1}).spatial_blocks(4) == range(1, 2)
