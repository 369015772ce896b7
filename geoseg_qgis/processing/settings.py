"""What the user set once for all runs, kept in the settings of QGIS."""

from __future__ import annotations

from dataclasses import dataclass

from qgis.core import QgsSettings

DEVICES = ("auto", "cuda", "mps", "cpu")
_INTERPRETER = "geoseg/interpreter"
_MODEL_FOLDER = "geoseg/model_folder"
_DEVICE = "geoseg/device"


@dataclass(frozen=True)
class Settings:
    """The user's choices.

    Attributes:
        interpreter: Python of the engine; empty for the environment the plugin makes.
        model_folder: Folder whose subfolders are model presets; empty for none.
        device: Where models run when an algorithm says ``auto``.
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

    def write(self) -> None:
        """Store these choices."""
        store = QgsSettings()
        store.setValue(_INTERPRETER, self.interpreter)
        store.setValue(_MODEL_FOLDER, self.model_folder)
        store.setValue(_DEVICE, self.device)
