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
    parts = [_block(html.escape(paragraph)) for paragraph in paragraphs]
    for title, entries in sections.items():
        if entries:
            parts.append(_block(_bold(title, "large")))
        parts += [_block(f"{_bold(name)}<br>{html.escape(text)}") for name, text in entries]
    return "\n".join(parts)


def _block(content: str) -> str:
    # The dialogs of QGIS give p, h2 and b dark colours of their own, which a dark theme swallows.
    return f'<div style="margin-top: 8px">{content}</div>'


def _bold(text: str, size: str = "medium") -> str:
    return f'<span style="font-weight: 600; font-size: {size}">{html.escape(text)}</span>'
