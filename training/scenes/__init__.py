"""Procedural scenes: orthophotos made on the fly, with exact labels."""

from .drawn_scene import CRS, KINDS, RARE_KINDS, VERSION, DrawnScene, SceneObject, generate_scene
from .geotiff import write_scene

__all__ = [
    "CRS",
    "KINDS",
    "RARE_KINDS",
    "VERSION",
    "DrawnScene",
    "SceneObject",
    "generate_scene",
    "write_scene",
]
