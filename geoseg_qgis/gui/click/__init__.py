"""Outlines by clicking: the map tool, its page in the dock, and what both share."""
