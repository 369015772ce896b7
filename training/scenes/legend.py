"""Classes of generated scenes, and groups of them that people have one word for."""

from __future__ import annotations

from typing import Final

CLASS_NAMES: Final = (
    "unlabelled",
    "building",
    "road",
    "sidewalk",
    "driveway",
    "parking lot",
    "car",
    "tree",
    "forest",
    "hedge",
    "field",
    "grass",
    "bare soil",
    "sand",
    "lake",
    "river",
    "sea",
    "swimming pool",
    "sports field",
    "path",
    "wall",
    "yard",
)
CLASS_ID: Final = {name: index for index, name in enumerate(CLASS_NAMES)}
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "water": ("lake", "river", "sea", "swimming pool"),
    "open water": ("lake", "river", "sea"),
    "vegetation": ("tree", "forest", "hedge", "field", "grass"),
    "woody": ("tree", "forest", "hedge"),
    "paved": ("road", "sidewalk", "driveway", "parking lot", "yard"),
    "bare": ("bare soil", "sand"),
}
NEAR_INFRARED_GAIN: Final[dict[str, float]] = {
    "tree": 2.3,
    "forest": 2.3,
    "hedge": 2.2,
    "grass": 1.9,
    "field": 1.6,
    "sports field": 1.5,
    "bare soil": 1.25,
    "sand": 1.15,
    "path": 1.15,
    "lake": 0.35,
    "river": 0.35,
    "sea": 0.3,
    "swimming pool": 0.2,
}


def class_ids(*names: str) -> tuple[int, ...]:
    """Return the ids of classes; a group's name stands for its classes."""
    return tuple(CLASS_ID[member] for name in names for member in GROUPS.get(name, (name,)))
