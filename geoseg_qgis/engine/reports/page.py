"""HTML pages with style and figures inside, so that they can be read offline."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from geoseg_qgis.engine.files import draft

_TEMPLATES = Path(__file__).with_name("templates")
_THIN_SPACE = "\u202f"


def write_page(path: str, template: str, **values: Any) -> None:
    """Write a page.

    Args:
        path: HTML file to write.
        template: Name of a template in the folder ``templates``.
        values: What the template shows. Texts are escaped.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``.
    """
    text = _environment().get_template(template).render(values)
    with draft(Path(path)) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="")


def count(value: int) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", _THIN_SPACE)


def score(value: float) -> str:
    """Return a score with three decimals."""
    return f"{value:.3f}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count, score=score)
    environment.tests["nan"] = math.isnan
    return environment
