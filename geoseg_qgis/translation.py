"""Words that people read, in their language."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication

_MINUTE, _HOUR = 60.0, 3600.0
_TEN_MINUTES = 600.0


def tr(text: str) -> str:
    """Return ``text`` in the language of the user interface."""
    translated: str = QCoreApplication.translate("GeoSeg", text)
    return translated


def duration(seconds: float) -> str:
    """Return a time for people, as coarse as an estimate is: ``7 min``."""
    if seconds < _MINUTE:
        return tr("{} s").format(max(1, round(seconds)))
    if seconds < _TEN_MINUTES:
        return tr("{} min").format(round(seconds / _MINUTE))
    if seconds < _HOUR:
        return tr("{} min").format(5 * round(seconds / _MINUTE / 5))
    hours, rest = divmod(seconds, _HOUR)
    return tr("{} h {} min").format(int(hours), 10 * int(rest / _TEN_MINUTES))


def size(count: float) -> str:
    """Return a number of bytes for people, in decimal units: ``2.4 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
