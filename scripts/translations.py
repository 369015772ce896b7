"""Brings the translations in ``geoseg_qgis/i18n`` up to date with the texts in the plugin.

Run it with ``make translations``. New texts are added as unfinished, texts that are gone leave the
files, and finished translations stay. Translate with Qt Linguist or any editor.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "geoseg_qgis"
FOLDERS = ("gui", "processing", "layers")
TITLES = ("TITLE", "GROUP")


def main() -> int:
    """Rewrite every file and print what is not translated yet."""
    texts = plugin_texts()
    for path in sorted((PACKAGE / "i18n").glob("geoseg_*.ts")):
        known = read(path)
        path.write_text(as_file(path.stem.rpartition("_")[2], texts, known), encoding="utf-8")
        missing = [text for text in texts if text not in known]
        sys.stdout.write(f"{path.name}: {len(texts)} texts, {len(missing)} not translated\n")
    return 0


def plugin_texts(folders: Sequence[str] = FOLDERS) -> list[str]:
    """Return the texts in calls of ``tr``, and the titles of algorithms and groups, in order.

    Args:
        folders: Folders of the plugin to read, besides the modules of the plugin itself.
    """
    files = [path for folder in folders for path in sorted((PACKAGE / folder).rglob("*.py"))]
    found: dict[str, None] = {}
    for path in [*files, PACKAGE / "plugin.py", PACKAGE / "translation.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = _text(node)
            if text:
                found[text] = None
    return list(found)


def _text(node: ast.AST) -> str:
    value: ast.expr | None = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tr":
        value = node.args[0] if node.args else None
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        value = node.value if node.targets[0].id in TITLES else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def read(path: Path) -> dict[str, str]:
    """Return the finished translations of a file."""
    tree = ET.parse(path)  # noqa: S314  the project's own file
    return {
        message.findtext("source", ""): message.findtext("translation", "")
        for message in tree.iter("message")
        if (found := message.find("translation")) is not None and found.get("type") is None
    }


def as_file(language: str, texts: list[str], known: dict[str, str]) -> str:
    """Return the content of a file of Qt Linguist."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<!DOCTYPE TS>"]
    lines += [f'<TS version="2.1" language="{language}">', "<context>", "    <name>GeoSeg</name>"]
    for text in texts:
        done = known.get(text)
        translation = (
            '<translation type="unfinished"></translation>'
            if done is None
            else f"<translation>{escape(done)}</translation>"
        )
        lines += ["    <message>", f"        <source>{escape(text)}</source>"]
        lines += [f"        {translation}", "    </message>"]
    return "\n".join([*lines, "</context>", "</TS>", ""])


if __name__ == "__main__":
    raise SystemExit(main())
