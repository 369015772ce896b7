"""Rasters with objects to outline, and tiny random networks."""

from prompt_scenes import houses, landscape, suburb, tiny

__all__ = ["houses", "landscape", "suburb", "tiny"]
