"""``geoseg:setup``: make or repair the engine's own Python environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingOutputString,
    QgsProcessingParameterFile,
)

from ..engine_client import (
    EngineClient,
    close_shared,
    default_destination,
    install_engine,
    locate_engine,
    plan_setup,
)
from ..engine_client.install import remove_superseded
from ..engine_client.setup_plan import CHECK, SetupPlan, usual_destination
from ..protocol.errors import JobError
from ..translation import tr
from .base import GeoSegAlgorithm
from .proxy import proxy_variables
from .settings import Settings, engine_variables
from .values import Values


class SetupAlgorithm(GeoSegAlgorithm):
    """Installs the engine, or repairs it."""

    NAME = "setup"
    TITLE = "Set up the engine"
    GROUP = "Engine"
    GROUP_ID = "engine"
    IN_MODELS = False
    TAGS = ("install", "repair", "environment", "python", "pytorch")
    NEEDS_ENGINE = False
    SUMMARY = """Makes the Python environment that the models run in, or repairs it. Nothing is
        installed into the Python of QGIS.

        PyTorch is chosen for this computer: for NVIDIA cards where their driver is found, which
        takes about 3 GB of downloading and 6 GB of disk space, else for the processor, about 0.4
        and 2 GB. An engine that was installed before the card or its driver is changed to use the
        card when this is run again.

        Every package is checked against a list of checksums, and an environment that already works
        is only checked. What was downloaded before a cancel is not downloaded again. The proxy of
        QGIS is used."""

    def declare(self) -> None:
        """Add parameters and outputs."""
        folder = QgsProcessingParameterFile(
            "DESTINATION",
            tr("Folder of the environment"),
            behavior=QgsProcessingParameterFile.Behavior.Folder,
            optional=True,
        )
        folder.setHelp(
            tr(
                "A new or empty folder with enough space, which the GeoSeg options then point to. "
                "The data folder of your account is used when empty."
            )
        )
        self.addParameter(folder)
        self.addOutput(QgsProcessingOutputString("PYTHON", tr("Interpreter of the engine")))
        self.addOutput(QgsProcessingOutputString("VERSION", tr("Version of the engine")))

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Install the engine, start it once and return where it is."""
        chosen = values.text("DESTINATION")
        # A running engine holds its files open, and some systems cannot replace those.
        close_shared()
        texts = [""]

        def report(fraction: float, text: str) -> None:
            if text != texts[-1]:
                texts.append(text)
                feedback.setProgressText(text)
            feedback.setProgress(100.0 * fraction)

        destination = Path(chosen) if chosen else usual_destination()
        feedback.pushInfo(plan_text(plan_setup(destination)))
        location = install_engine(
            destination, report, feedback.isCanceled, variables=proxy_variables()
        )
        if destination == default_destination():
            for name in remove_superseded():
                feedback.pushInfo(tr("Removed {}, which an earlier version used.").format(name))
        # Not the shared client: a variable or setting may name another engine.
        client = EngineClient(location)
        client.variables = engine_variables()
        try:
            status = client.status(feedback.isCanceled)
        finally:
            client.close()
        devices = ", ".join(device["name"] for device in status.get("devices") or [])
        feedback.pushInfo(tr("The engine runs in {}: {}.").format(location.python, devices))
        if chosen:
            _point_settings_to(location.python)
        else:
            _warn_if_hidden(location.python, feedback)
        return {"PYTHON": location.python, "VERSION": str(status.get("version", ""))}


def plan_text(plan: SetupPlan) -> str:
    """Return what a set-up would do, in words."""
    if plan.action == CHECK:
        return tr("The engine is installed; its packages are checked.")
    sizes = tr("About {} GB to download, {} GB on the disk.").format(
        f"{plan.download_bytes / 1e9:.1f}", f"{plan.disk_bytes / 1e9:.1f}"
    )
    return f"{plan.reason} {sizes}"


def _point_settings_to(python: str) -> None:
    settings = Settings.read()
    Settings(python, settings.model_folder, settings.device).write()


def _warn_if_hidden(python: str, feedback: QgsProcessingFeedback) -> None:
    """Warn when a setting or variable makes GeoSeg use another interpreter."""
    try:
        used = locate_engine(Settings.read().interpreter)
    except JobError as error:
        feedback.pushWarning(str(error))
        return
    if used.python != python:
        feedback.pushWarning(
            tr(
                "The {} names another interpreter, {}, which stays in use. Clear it to use this "
                "engine."
            ).format(used.origin, used.python)
        )
