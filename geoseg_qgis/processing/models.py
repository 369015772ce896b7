"""``geoseg:models``: list, download, verify and remove the models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from qgis.core import (
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterString,
)

from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.result import ModelSummary
from ..protocol.tasks.models import ModelAction, ModelsTask
from ..translation import tr
from .base import GeoSegAlgorithm
from .settings import Settings
from .values import Values

NUMBERS = {
    "MODEL_COUNT": "Number of models",
    "INSTALLED_COUNT": "Number of models that are ready to use",
    "DAMAGED_COUNT": "Number of models with spoilt files, after a verification",
}
_NAMES_NEEDED = (ModelAction.DOWNLOAD, ModelAction.REMOVE)


class ModelsAlgorithm(GeoSegAlgorithm):
    """Manages the models on this computer."""

    NAME = "models"
    TITLE = "Manage models"
    GROUP = "Engine"
    GROUP_ID = "engine"
    TAGS = ("model", "weights", "download", "checkpoint", "Hugging Face", "offline", "licence")
    SUMMARY = """Lists the models with size, licence and the memory they need on this computer,
        downloads them, verifies their files, or removes what was downloaded.

        Every download is checked against the SHA-256 of the model's card, and one that was cut
        short goes on where it ended. Files that are on this computer already, in ADOPT_FROM or in
        the cache of Hugging Face, are used instead. The proxy of QGIS is used. Models whose
        authors grant access one by one need the variable HF_TOKEN with an access token of your
        Hugging Face account; GeoSeg keeps it nowhere."""

    def declare(self) -> None:
        """Add parameters and outputs."""
        self.add(
            QgsProcessingParameterEnum(
                "ACTION",
                tr("Action"),
                options=[action.value for action in ModelAction],
                defaultValue=ModelAction.LIST.value,
                usesStaticStrings=True,
            ),
            "Write the word. list: tell what there is. download: bring what is missing or spoilt. "
            "verify: read every file again and compare its SHA-256. remove: delete what was "
            "downloaded and no other model needs.",
        )
        self.add(
            QgsProcessingParameterString("MODELS", tr("Models"), optional=True),
            "Names of models, parted by commas, as the list tells them; a folder with a card.json "
            "is a model too. Empty means all of them, for list and verify.",
        )
        self._declare_advanced()
        self.add(
            QgsProcessingParameterFileDestination(
                "TABLE", tr("Table"), "CSV (*.csv)", optional=True, createByDefault=False
            ),
            "Name, state, size and memory in bytes, licence and methods of each model.",
        )
        for name, text in NUMBERS.items():
            self.addOutput(QgsProcessingOutputNumber(name, tr(text)))

    def _declare_advanced(self) -> None:
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.add(
            QgsProcessingParameterFile("FOLDER", tr("Model folder"), folder, optional=True),
            "Where models lie and downloads go; the folder of the GeoSeg options when empty.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterFile("ADOPT_FROM", tr("Take files from"), folder, optional=True),
            "Folder with files that you downloaded by hand; they are checked, and linked or copied "
            "into the model folder. The network is then not used.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean("OFFLINE", tr("Leave the network alone"), False),
            "Use only what is on this computer.",
            advanced=True,
        )

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        action = ModelAction(values.choice("ACTION"))
        if action in _NAMES_NEEDED and not _names(values):
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("No model to {} was named.").format(action.value),
                tr("Write one or several names into MODELS; the action list tells them."),
            )
        adopt_from = values.text("ADOPT_FROM")
        if adopt_from and not Path(adopt_from).is_dir():
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("There is no folder {}.").format(adopt_from),
                tr("Choose the folder that you downloaded files to."),
            )

    def process(self, values: Values, feedback: QgsProcessingFeedback) -> Dict[str, Any]:
        """Run the job and tell the models."""
        self.check(values)
        table = _table(values)
        task = ModelsTask(
            action=ModelAction(values.choice("ACTION")),
            models=_names(values),
            folder=values.text("FOLDER"),
            adopt_from=values.text("ADOPT_FROM"),
            offline=values.algorithm.parameterAsBool(values.parameters, "OFFLINE", values.context),
            table=table,
        )
        device = Settings.read().device
        result = self.run_job(Job(None, task, device=device), feedback)
        for line in model_lines(result.models):
            feedback.pushInfo(line)
        numbers = {name: value for name, value in result.numbers.items() if name in NUMBERS}
        return {**({"TABLE": table} if table else {}), **numbers}


def model_lines(models: Tuple[ModelSummary, ...]) -> Tuple[str, ...]:
    """Return what people read of the models: a heading for each state, and a line a model."""
    titles = {
        "built-in": tr("Built in"),
        "installed": tr("Installed"),
        "partial": tr("Downloaded in part"),
        "missing": tr("To be downloaded"),
        "damaged": tr("Damaged"),
    }
    lines = []
    for state, title in titles.items():
        found = [model for model in models if model.state == state]
        if found:
            lines.append(f"{title}:")
        lines += [f"  {_line(model)}" for model in found]
    return tuple(lines)


def _line(model: ModelSummary) -> str:
    facts = [model.title, _size(model.size) if model.size else tr("size not stated")]
    if model.memory:
        memory = tr("takes about {} of memory").format(_size(model.memory))
        lacking = "" if model.fits else tr(" (more than is free)")
        facts.append(memory + lacking)
    facts += [", ".join(model.methods), tr("licence: {}").format(model.licence)]
    text = f"{model.name}: {'; '.join(facts)}"
    return f"{text}. {model.note}" if model.note else text


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _names(values: Values) -> Tuple[str, ...]:
    parts = re.split(r"[,;\n]", values.text("MODELS"))
    return tuple(part.strip() for part in parts if part.strip())


def _table(values: Values) -> Optional[str]:
    if not values.is_given("TABLE"):
        return None
    path: str = values.algorithm.parameterAsFileOutput(values.parameters, "TABLE", values.context)
    return path or None
