"""A report on plugin, engine and machine that can be pasted into a question for help."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import List

from qgis.core import Qgis
from qgis.PyQt.QtCore import QT_VERSION_STR

from ..engine_client import locate_engine
from ..engine_client.locate import data_folder, read_stamp
from ..processing.settings import Settings
from ..protocol import PLUGIN_VERSION, PROTOCOL_VERSION
from ..protocol.errors import JobError
from ..protocol.redaction import redact

_LOG_LINES = 40


def diagnostics_report() -> str:
    """Return the report as text; the home folder is written as ``~``."""
    settings = Settings.read()
    lines = [
        f"GeoSeg {PLUGIN_VERSION}, protocol {PROTOCOL_VERSION}",
        f"QGIS {Qgis.QGIS_VERSION}, Qt {QT_VERSION_STR}, Python {platform.python_version()}",
        f"{platform.platform()}, {platform.machine()}",
        f"Settings: interpreter {settings.interpreter or '-'}, model folder "
        f"{settings.model_folder or '-'}, device {settings.device}",
        *_engine_lines(settings),
    ]
    for name in ("setup.log", "engine.log"):
        lines += _tail(data_folder() / "logs" / name)
    return redact("\n".join(lines).replace(str(Path.home()), "~"))


def _engine_lines(settings: Settings) -> List[str]:
    try:
        location = locate_engine(settings.interpreter)
    except JobError as error:
        return [f"Engine: {error}"]
    lines = [f"Engine: {location.python} ({location.origin})"]
    stamp = read_stamp(Path(location.python).parents[1])
    if stamp:
        lines.append(f"Engine Python {stamp.get('python', '?')}, made {stamp.get('made', '?')}")
    versions = stamp.get("versions") or {}
    lines += [f"  {name} {version}" for name, version in sorted(versions.items())]
    return lines


def _tail(path: Path) -> List[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [f"{path.name}: none"]
    return [f"{path.name}, last lines:", *(f"  {line}" for line in lines[-_LOG_LINES:])]
