"""Points, boxes and polygons to outlines: one object a prompt or group of prompts, any raster."""
