"""The task of counting bright pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..parameters import Role, parameter
from ..registry import task


@task("brightness", uses=("source",))
@dataclass(frozen=True)
class BrightnessTask:
    """Count the pixels of a raster that are brighter than a level.

    Attributes:
        level: Highest value that is not bright.
        table: CSV to write, or None.
    """

    level: int = parameter(
        "Level", "Pixels above it are bright.", 128, name="LEVEL", minimum=0, maximum=255
    )
    table: Optional[str] = parameter(
        "Table", "The number of bright pixels.", None, name="TABLE", role=Role.CSV_FILE
    )
