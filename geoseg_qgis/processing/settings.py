"""Settings for all runs, stored in the settings of QGIS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict

from qgis.core import QgsSettings

from ..protocol.job import DEVICES
from .proxy import proxy_variables

_INTERPRETER = "geoseg/interpreter"
_MODEL_FOLDER = "geoseg/model_folder"
_DEVICE = "geoseg/device"
_MODEL_VARIABLE = "GEOSEG_MODELS"


@dataclass(frozen=True)
class Settings:
    """The user's choices.

    Attributes:
        interpreter: Python of the engine; empty for the environment the plugin makes.
        model_folder: Folder of models, which downloads go to; empty for that of the account.
        device: Where models run when the device of an algorithm is ``auto``.
    """

    interpreter: str = ""
    model_folder: str = ""
    device: str = "auto"

    @classmethod
    def read(cls) -> Settings:
        """Return what is stored; anything unknown counts as not set."""
        store = QgsSettings()
        device = store.value(_DEVICE, "auto", type=str)
        return cls(
            store.value(_INTERPRETER, "", type=str),
            store.value(_MODEL_FOLDER, "", type=str),
            device if device in DEVICES else "auto",
        )

    def model_place(self, name: str) -> str:
        """Return the name of a preset, or its folder when it lies in the user's model folder."""
        folder = Path(self.model_folder) / name
        is_own = name and self.model_folder and (folder / "card.json").is_file()
        return str(folder) if is_own else name

    def write(self) -> None:
        """Store these choices."""
        store = QgsSettings()
        store.setValue(_INTERPRETER, self.interpreter)
        store.setValue(_MODEL_FOLDER, self.model_folder)
        store.setValue(_DEVICE, self.device)


def engine_variables() -> Dict[str, str]:
    """Return the variables for the engine: the proxy of QGIS and the model folder."""
    variables = proxy_variables()
    folder = Settings.read().model_folder
    if folder:
        named = os.environ.get(_MODEL_VARIABLE, "")
        variables[_MODEL_VARIABLE] = os.pathsep.join([folder, named] if named else [folder])
    return variables
