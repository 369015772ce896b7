"""The task of managing models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from ..errors import ErrorCode, JobError
from ..parameters import Choice, Role, parameter
from ..registry import task


class ModelAction(Choice):
    """What is to be done with models."""

    LIST = "list", "show what is there"
    DOWNLOAD = "download", "fetch files that are missing or damaged"
    VERIFY = "verify", "read every file again and compare its SHA-256"
    REMOVE = "remove", "delete what was downloaded and no other model needs"


_NAMES_NEEDED = (ModelAction.DOWNLOAD, ModelAction.REMOVE)


@task("models", uses=("device",), needs_output=False)
@dataclass(frozen=True)
class ModelsTask:
    """List, download, verify or remove models.

    Attributes:
        action: See `ModelAction`.
        models: Names of presets; empty means all of them for ``LIST`` and ``VERIFY``.
        folder: Model folder; empty for the user's own.
        adopt_from: Folder with files that were downloaded by hand; used in place of the network.
        offline: Whether the network may not be used.
        table: CSV to write, or None.
    """

    action: ModelAction = parameter(
        "Action", "What to do.", ModelAction.LIST, name="ACTION", flag="action"
    )
    models: Tuple[str, ...] = parameter(
        "Models",
        "Names of models as the action list shows them, separated by commas. A folder with a "
        "card.json is a model as well. All models are listed or verified when empty.",
        (),
        name="MODELS",
        flag="models",
    )
    folder: str = parameter(
        "Model folder",
        "Where models lie and downloads go. The model folder of the account is used when empty.",
        "",
        name="FOLDER",
        role=Role.FOLDER,
        longest=4096,
        advanced=True,
    )
    adopt_from: str = parameter(
        "Take files from",
        "Folder with files that you downloaded by hand. They are checked, and linked or copied "
        "into the model folder. The network is then not used.",
        "",
        name="ADOPT_FROM",
        role=Role.FOLDER,
        longest=4096,
        advanced=True,
    )
    offline: bool = parameter(
        "Work offline",
        "Use only what is on this computer.",
        False,
        name="OFFLINE",
        advanced=True,
    )
    table: Optional[str] = parameter(
        "Table",
        "Name, state, size and memory in bytes, licence and methods of each model.",
        None,
        name="TABLE",
        role=Role.CSV_FILE,
        by_default=False,
    )

    def checked(self) -> ModelsTask:
        """Return itself.

        Raises:
            JobError: ``INVALID_JOB`` when an action needs names and has none.
        """
        if self.action in _NAMES_NEEDED and not self.models:
            raise JobError(
                ErrorCode.INVALID_JOB,
                f"No model to {self.action.value} was named.",
                "Name one or several models. The action list shows their names.",
            )
        return self
