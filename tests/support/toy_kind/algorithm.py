"""``geoseg:brightness``: a raster to the number of its bright pixels."""

from __future__ import annotations

from .job_algorithm import JobAlgorithm


class BrightnessAlgorithm(JobAlgorithm):
    """Counts bright pixels."""

    NAME = "brightness"
    TITLE = "Count bright pixels"
    GROUP = "Quality"
    GROUP_ID = "quality"
    TAGS = ("brightness", "count", "pixels", "test")
    SUMMARY = "Counts the pixels of a raster that are brighter than a level."
    NUMBERS = {"BRIGHT_PIXELS": "Number of bright pixels"}
