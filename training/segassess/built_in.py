"""The built-in SegAssess: its sizes and the limits of what it judges."""

from __future__ import annotations

import json

from geoseg_qgis.engine.models.segassess import SegAssessConfiguration
from geoseg_qgis.engine.models.segassess.loading import CONFIGURATION_KEY

BUILT_IN = SegAssessConfiguration(
    encoder_width=128,
    encoder_depth=6,
    encoder_heads=4,
    global_blocks=(1, 3, 4, 5),
    window=8,
    stored_grid=16,
    decoder_width=96,
    decoder_hidden=192,
    score_hidden=16,
    prompt_resampling="average",
    stem="convolutions",
)
METADATA = {CONFIGURATION_KEY: json.dumps(BUILT_IN.to_json())}
TILE = 256
"""Side of training tiles in pixels."""
