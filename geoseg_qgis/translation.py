"""Words that people read, in their language, from the files ``i18n/geoseg_<language>.ts``.

The files are those of Qt Linguist and are read as they are, so that there is nothing to compile.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Dict

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QByteArray, QXmlStreamReader

FOLDER = Path(__file__).parent / "i18n"
_MINUTE, _HOUR = 60.0, 3600.0
_TEN_MINUTES = 600.0


def tr(text: str) -> str:
    """Return ``text`` in the language of the user interface; itself without a translation."""
    return translations(str(QgsApplication.locale())).get(text, text)


@lru_cache(maxsize=4)
def translations(locale: str) -> Dict[str, str]:
    """Return text to translation for a locale such as ``de_AT``; empty for none."""
    path = FOLDER / f"geoseg_{locale[:2]}.ts"
    return read_translations(path) if path.is_file() else {}


def read_translations(path: Path) -> Dict[str, str]:
    """Return text to translation of a file of Qt Linguist; unfinished ones are left out."""
    reader = QXmlStreamReader(QByteArray(path.read_bytes()))
    found: Dict[str, str] = {}
    source = ""
    while not reader.atEnd():
        reader.readNext()
        if not reader.isStartElement():
            continue
        if str(reader.name()) == "source":
            source = str(reader.readElementText())
        elif str(reader.name()) == "translation":
            is_finished = not reader.attributes().hasAttribute("type")
            translation = str(reader.readElementText())
            if is_finished and translation:
                found[source] = translation
    return found


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
