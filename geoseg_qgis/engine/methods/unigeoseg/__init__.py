"""UniGeoSeg on arrays: requests, tiles and mask probabilities."""

from .letterbox import Letterbox
from .segmenter import MaskResult, Segmenter, TileEmbedding, preset_segmenter

__all__ = ["Letterbox", "MaskResult", "Segmenter", "TileEmbedding", "preset_segmenter"]
