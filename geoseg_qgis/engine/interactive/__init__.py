"""Outlines while the user points: rasters, models and encoded tiles stay ready between requests."""
