"""``geoseg:models``: list, download, verify and remove the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from qgis.core import QgsProcessingFeedback

from ..engine_client import EngineClient, locate_engine
from ..protocol.errors import ErrorCode, JobError
from ..protocol.job import Job
from ..protocol.result import ModelSummary, Result
from ..protocol.tasks.models import ModelAction
from ..translation import tr
from . import hub_access
from .job_algorithm import JobAlgorithm
from .settings import Settings, engine_variables
from .values import Values


class ModelsAlgorithm(JobAlgorithm):
    """Manages the models on this computer."""

    NAME = "models"
    TITLE = "Manage models"
    GROUP = "Engine"
    GROUP_ID = "engine"
    IN_MODELS = False
    TAGS = ("model", "weights", "download", "checkpoint", "Hugging Face", "offline", "licence")
    SUMMARY = """Lists the models with size, licence and the memory they need on this computer,
        downloads them, verifies their files, or removes what was downloaded.

        Every download is checked against the SHA-256 of the model's card, and an interrupted
        download continues where it stopped. Files that are on this computer already, in the folder
        under Take files from or in the cache of Hugging Face, are used instead. The proxy of QGIS
        is used. Models whose authors grant access one by one need an access token of your Hugging
        Face account: enter it in the GeoSeg options, which keep it in QGIS's authentication
        database, or set the variable HF_TOKEN."""
    NUMBERS = {
        "MODEL_COUNT": "Number of models",
        "INSTALLED_COUNT": "Number of models that are ready to use",
        "DAMAGED_COUNT": "Number of models with damaged files, after a verification",
    }
    _access: Dict[str, str] = {}
    _client: Optional[EngineClient] = None
    # Processing takes the device of the GeoSeg options.
    OMITTED = ("DEVICE",)

    def check(self, values: Values) -> None:
        """Raise `JobError` for values that cannot work."""
        super().check(values)
        adopt_from = values.text("ADOPT_FROM")
        if adopt_from and not Path(adopt_from).is_dir():
            raise JobError(
                ErrorCode.INVALID_JOB,
                tr("There is no folder {}.").format(adopt_from),
                tr("Choose the folder that you downloaded files to."),
            )

    def prepare(self, values: Values, feedback: QgsProcessingFeedback) -> None:
        """Read the token for a download on the main thread, where QGIS may ask for a password."""
        super().prepare(values, feedback)
        downloads = values.text("ACTION") == ModelAction.DOWNLOAD.value
        self._access = hub_access.variables() if downloads else {}
        if downloads and hub_access.is_stored() and not self._access:
            feedback.pushWarning(
                tr(
                    "The access token in the authentication database is not used, because its "
                    "master password was not entered."
                )
            )

    def run_job(self, job: Job, feedback: QgsProcessingFeedback) -> Result:
        """Have an engine of its own do a download with a token; that engine ends with it."""
        if not self._access:
            return super().run_job(job, feedback)
        self._client = EngineClient(locate_engine(Settings.read().interpreter))
        self._client.variables = {**engine_variables(), **self._access}
        try:
            return super().run_job(job, feedback)
        finally:
            self._client.close()
            self._client, self._access = None, {}

    def client(self) -> EngineClient:
        """Return the client of a download with a token, else the one that all share."""
        return self._client if self._client is not None else super().client()

    def deliver(
        self,
        values: Values,
        files: Dict[str, str],
        result: Result,
        feedback: QgsProcessingFeedback,
    ) -> Dict[str, Any]:
        """Show the models and return table and numbers."""
        for line in model_lines(result.models):
            feedback.pushInfo(line)
        return super().deliver(values, files, result, feedback)


def model_lines(models: Tuple[ModelSummary, ...]) -> Tuple[str, ...]:
    """Return a heading for each state of models, and below it one line for each model."""
    titles = {
        "built-in": tr("Built in"),
        "installed": tr("Installed"),
        "partial": tr("Partly downloaded"),
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
