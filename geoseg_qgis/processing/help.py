"""Help texts made from the parameters themselves."""

from __future__ import annotations

import html
from typing import Iterable

from qgis.core import (
    QgsApplication,
    QgsProcessingOutputDefinition,
    QgsProcessingParameterDefinition,
)

from ..translation import tr


def help_text(
    summary: str,
    parameters: Iterable[QgsProcessingParameterDefinition],
    outputs: Iterable[QgsProcessingOutputDefinition],
) -> str:
    """Return the help of an algorithm as HTML.

    ``qgis_process`` prints it raw and lists summary line and parameters itself: there it is the
    rest of the summary as plain text.

    Args:
        summary: Paragraphs separated by blank lines.
        parameters: Their own help texts are shown; destinations come last.
        outputs: Numbers and texts that no parameter stands for.
    """
    paragraphs = [" ".join(paragraph.split()) for paragraph in summary.split("\n\n")]
    if QgsApplication.platform() == "qgis_process":
        return "\n\n".join(paragraphs[1:] or paragraphs)
    everything = list(parameters)
    names = {item.name() for item in everything}
    sections = {
        tr("Inputs"): [
            (item.description(), item.help()) for item in everything if not item.isDestination()
        ],
        tr("Outputs"): [
            (item.description(), item.help()) for item in everything if item.isDestination()
        ],
        tr("Values"): [
            (item.name(), item.description()) for item in outputs if item.name() not in names
        ],
    }
    parts = [f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs]
    for title, entries in sections.items():
        if entries:
            parts.append(f"<h3>{html.escape(title)}</h3>")
        parts += [
            f"<p><b>{html.escape(name)}</b><br>{html.escape(text)}</p>" for name, text in entries
        ]
    return "\n".join(parts)
