"""UniGeoSeg on arrays and rasters: requests, chips, tiles, mask probabilities, whole extents."""

from .letterbox import Letterbox
from .segmenter import ImageEmbedding, MaskPrediction, Segmenter, preset_segmenter

__all__ = ["ImageEmbedding", "Letterbox", "MaskPrediction", "Segmenter", "preset_segmenter"]
