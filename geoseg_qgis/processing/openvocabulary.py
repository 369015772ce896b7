"""``geoseg:openvocabulary``: classes as text to a class raster, polygons and scores."""

from __future__ import annotations

from .class_results import ClassResults
from .imagery import ImageryAlgorithm


class OpenVocabularyAlgorithm(ClassResults, ImageryAlgorithm):
    """Segments imagery into classes that the user names."""

    NAME = "openvocabulary"
    TITLE = "Open-vocabulary segmentation"
    GROUP = "Segmentation"
    GROUP_ID = "segmentation"
    TAGS = (
        "segment",
        "classify",
        "land cover",
        "text prompt",
        "zero-shot",
        "deep learning",
        "buildings",
        "CLIP",
        "SAM",
        "GUMix",
    )
    SUMMARY = """Maps the classes you name. The results are a class raster, polygons and, if you
        want them, scores that can be thresholded again without any model.

        In the class raster 0 is unclassified or nodata, and classes count from 1 in the order in
        which you wrote them."""
