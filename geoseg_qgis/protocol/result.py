"""The one result that every job gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Tuple

from .codec import from_json, to_json


@dataclass(frozen=True)
class ClassSummary:
    """What was found of one class: pixels, share of the valid area, square metres, polygons."""

    class_id: int
    name: str
    color: str
    pixels: int
    share: float
    area: float
    polygons: int = 0


@dataclass(frozen=True)
class ModelSummary:
    """One preset as a user chooses it.

    Attributes:
        name: Preset name.
        title: Name for people.
        licence: Licence of the weights.
        methods: Methods it serves.
        size: Bytes of all of its files, 0 when unknown.
        state: ``built-in``, ``installed``, ``partial``, ``missing`` or ``damaged``.
        memory: Estimated bytes that a run takes on this machine's device, 0 when unknown.
        fits: Whether that much is there.
        note: What else to know, such as the page where access is granted.
    """

    name: str
    title: str
    licence: str
    methods: Tuple[str, ...]
    size: int
    state: str
    memory: int = 0
    fits: bool = True
    note: str = ""


@dataclass(frozen=True)
class Result:
    """Files, numbers and how they came about.

    Attributes:
        files: Output name to path, only files that are complete.
        numbers: Output name to number.
        classes: One summary a class, in the order of the class text.
        warnings: Sentences the user must see.
        provenance: Method, model, revision, parameters, device, versions; also in every file.
        models: One summary a preset, for jobs about models.
    """

    files: Dict[str, str] = field(default_factory=dict)
    numbers: Dict[str, float] = field(default_factory=dict)
    classes: Tuple[ClassSummary, ...] = ()
    warnings: Tuple[str, ...] = ()
    provenance: Dict[str, str] = field(default_factory=dict)
    models: Tuple[ModelSummary, ...] = ()

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        form: Dict[str, Any] = to_json(self)
        return form

    @classmethod
    def from_json(cls, data: Any) -> Result:
        """Build a result from its JSON form."""
        return from_json(cls, data)
