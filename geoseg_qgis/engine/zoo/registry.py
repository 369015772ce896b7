"""Where presets lie and which one a job uses.

There are three kinds: built into the package (``builtin/*/card.json`` with their weights),
described in the package for download (``cards/*.json``), and the user's own. The user's model
folders are those given, or those in the environment variable ``GEOSEG_MODELS`` (separated as in
``PATH``), or the data folder of the user's account. A model folder that has a ``card.json`` is a
preset, and so is each folder directly in it that has one. A preset of the user replaces one of the
package with the same name.

Files of presets for download lie together in the folder ``published`` of a model folder. Their
cards name each file by where it was published, so that presets with a network in common share its
file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from geoseg_qgis.engine.json_reader import read_object
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .card import CARD_FILE, ModelCard, WeightsFile, read_card
from .methods import foreign_methods, method_needs

ENVIRONMENT_VARIABLE = "GEOSEG_MODELS"
PUBLISHED_FOLDER = "published"
_PACKAGE = Path(__file__).parent


class Origin(str, Enum):
    """Who put a preset where it is."""

    BUILT_IN = "builtin"
    DOWNLOAD = "download"
    USER = "user"


@dataclass(frozen=True)
class Preset:
    """A card and the folder its files are relative to."""

    card: ModelCard
    folder: Path
    origin: Origin

    def path(self, file: str) -> Path:
        """Return where a file of the card lies."""
        return self.folder / file

    def missing_files(self, components: Sequence[str] | None = None) -> list[WeightsFile]:
        """Return the weights that are not on disk, of the named components or of all."""
        names = self.card.components if components is None else components
        files = [weights for name in names for weights in self.card.weights_of(name)]
        return [weights for weights in files if not self.path(weights.file).is_file()]

    def serves(self, method: str) -> bool:
        """Return whether the method may be used with this preset.

        A method from outside the package, which no card can know, takes any preset that has the
        components it needs.
        """
        if method in self.card.methods:
            return True
        needs = foreign_methods().get(method)
        return needs is not None and set(needs) <= set(self.card.components)

    def is_ready(self, method: str) -> bool:
        """Return whether the method is served and the files that it needs are on disk."""
        return self.serves(method) and not self.missing_files(method_needs()[method])

    def require_files(self, components: Sequence[str]) -> None:
        """Check that the weights of the components are on disk.

        Raises:
            JobError: ``MODEL_MISSING`` naming the first file and where it is expected.
        """
        missing = self.missing_files(components)
        if missing:
            raise _missing_file(self, missing[0])


@dataclass(frozen=True)
class Catalogue:
    """All presets by name, and the cards that could not be read."""

    presets: dict[str, Preset]
    problems: tuple[JobError, ...] = ()


def default_model_folder() -> Path:
    """Return the folder of this user account that downloads go to."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
    return base / "geoseg" / "models"


def model_folders(given: Sequence[Path] | None = None) -> list[Path]:
    """Return the user's model folders; downloads go to the first."""
    if given:
        return [Path(folder) for folder in given]
    named = os.environ.get(ENVIRONMENT_VARIABLE, "")
    folders = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
    return folders or [default_model_folder()]


def catalogue(folders: Sequence[Path] | None = None) -> Catalogue:
    """Return every preset that can be found; a card that cannot be read is left out."""
    presets: dict[str, Preset] = {}
    problems: list[JobError] = []
    places = model_folders(folders)
    for path, folder, origin in _candidates(places):
        try:
            card = read_card(path)
        except JobError as error:
            if not _is_learnt(path):
                problems.append(error)
            continue
        presets[card.name] = Preset(card, folder or _published_folder(card, places), origin)
    return Catalogue(presets, tuple(problems))


def _is_learnt(card: Path) -> bool:
    """Return whether a card is that of a model that was learnt from labels, which is no preset."""
    try:
        return bool(read_object(card).get("kind") == "learnt")
    except JobError:
        return False


def _published_folder(card: ModelCard, folders: Sequence[Path]) -> Path:
    """Return where the files of a preset for download lie, or will: mostly in the first folder."""
    places = [folder / PUBLISHED_FOLDER for folder in folders]
    present = [sum((place / weights.file).is_file() for weights in card.files) for place in places]
    return places[present.index(max(present))]


def _candidates(folders: Sequence[Path]) -> Iterator[tuple[Path, Path | None, Origin]]:
    for path in sorted((_PACKAGE / "cards").glob("*.json")):
        yield path, None, Origin.DOWNLOAD
    for path in sorted((_PACKAGE / "builtin").glob(f"*/{CARD_FILE}")):
        yield path, path.parent, Origin.BUILT_IN
    # Earlier folders win, so they are read last.
    for folder in reversed(folders):
        for path in (*sorted(folder.glob(f"*/{CARD_FILE}")), folder / CARD_FILE):
            if path.is_file():
                yield path, path.parent, Origin.USER


def open_preset(name: str, folders: Sequence[Path] | None = None) -> Preset:
    """Return the preset called ``name``, or the one in the folder (or card file) ``name``.

    Raises:
        JobError: ``MODEL_MISSING`` listing what there is, ``MODEL_INVALID`` for a bad card.
    """
    card = _card_at(name)
    if card is not None:
        return Preset(read_card(card), card.parent, Origin.USER)
    found = catalogue(folders)
    if name in found.presets:
        return found.presets[name]
    raise JobError(
        ErrorCode.MODEL_MISSING,
        f"There is no model called {name!r}.",
        f"Use one of {', '.join(sorted(found.presets))}, or a folder with a {CARD_FILE}.",
        "\n".join(str(problem) for problem in found.problems),
    )


def _card_at(name: str) -> Path | None:
    """Return the card that a folder or file name means; None for the name of a preset."""
    # What cannot be a path may still be a name.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        path = Path(name).expanduser()
        if path.is_file() and path.suffix == ".json":
            return path
        is_path = path.is_absolute() or len(path.parts) > 1
        if path.is_dir() and (is_path or (path / CARD_FILE).exists()):
            return path / CARD_FILE
    return None


def choose_preset(name: str, method: str, folders: Sequence[Path] | None = None) -> Preset:
    """Return the preset a job means, ready for its method.

    Args:
        name: Preset name or folder; empty for the built-in one, else one of the user's, else a
            downloaded one.
        method: Static method name.
        folders: The user's model folders.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``; ``INVALID_JOB`` for an unknown method.
    """
    needs = method_needs()
    if method not in needs:
        raise JobError(
            ErrorCode.INVALID_JOB,
            f"There is no method called {method!r}.",
            f"Use one of {', '.join(needs)}.",
        )
    if not name:
        return _default_preset([method], folders)
    preset = open_preset(name, folders)
    if not preset.serves(method):
        serving = [key for key, other in _serving(method, folders).items() if other != preset]
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The model {preset.card.name} does not serve the method {method}.",
            f"Use one of {', '.join(sorted(serving))}." if serving else "Choose another method.",
        )
    preset.require_files(needs[method])
    return preset


def choose_method(name: str, methods: Sequence[str], folders: Sequence[Path] | None = None) -> str:
    """Return the method that ``auto`` means: the first that the preset's card recommends.

    Args:
        name: Preset name or folder; empty for the preset that a job takes by itself.
        methods: Methods of the task.
        folders: The user's model folders.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    preset = open_preset(name, folders) if name else _default_preset(methods, folders)
    served = [method for method in preset.card.methods if method in methods]
    served += [method for method in methods if method not in served and preset.serves(method)]
    if not served:
        raise JobError(
            ErrorCode.MODEL_INVALID,
            f"The model {preset.card.name} serves none of the methods {', '.join(methods)}.",
            "Choose another model.",
        )
    return next((method for method in served if preset.is_ready(method)), served[0])


def _serving(method: str, folders: Sequence[Path] | None) -> dict[str, Preset]:
    presets = catalogue(folders).presets
    return {name: preset for name, preset in presets.items() if preset.serves(method)}


def _default_preset(methods: Sequence[str], folders: Sequence[Path] | None) -> Preset:
    """Return the preset that serves one of the methods when the job names none."""
    serving = {
        name: preset for method in methods for name, preset in _serving(method, folders).items()
    }
    order = {Origin.BUILT_IN: 0, Origin.USER: 1, Origin.DOWNLOAD: 2}
    ready = [preset for preset in serving.values() if any(map(preset.is_ready, methods))]
    if ready:
        return min(ready, key=lambda preset: (order[preset.origin], preset.card.name))
    names = ", ".join(sorted(serving))
    raise JobError(
        ErrorCode.MODEL_MISSING,
        f"No model for the method {' or '.join(methods)} is on this machine.",
        f"Download one of {names}." if names else "Put a folder with a card there.",
    )


def _missing_file(preset: Preset, weights: WeightsFile) -> JobError:
    where = preset.path(weights.file)
    steps = "Download it with the model manager"
    if weights.url is None and weights.repository is None:
        steps = weights.note.rstrip(".") if weights.note else "Ask whoever made this model for it"
    return JobError(
        ErrorCode.MODEL_MISSING,
        f"The model {preset.card.name} lacks its file {weights.file}.",
        f"{steps}, or put it at {where}.",
    )
