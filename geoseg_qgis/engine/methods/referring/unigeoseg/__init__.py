"""UniGeoSeg on arrays and rasters: requests, tiles, mask probabilities, whole extents."""

from .letterbox import Letterbox
from .segmenter import MaskResult, Segmenter, TileEmbedding, preset_segmenter

__all__ = ["Letterbox", "MaskResult", "Segmenter", "TileEmbedding", "preset_segmenter"]
