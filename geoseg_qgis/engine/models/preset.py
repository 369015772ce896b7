"""A preset's networks, loaded on first use and kept until released."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from geoseg_qgis.engine.zoo.card import ModelCard, PixelSize
from geoseg_qgis.engine.zoo.registry import Preset
from geoseg_qgis.engine.zoo.vocabulary import Vocabulary
from geoseg_qgis.protocol.errors import ErrorCode, JobError

from .device import ChosenDevice, default_dtype
from .oom_fallback import free_cached_memory
from .weights import file_sha256, verify_file

if TYPE_CHECKING:
    from .clip import ClipModel
    from .dino import DinoModel
    from .language import LanguageModel
    from .sam2 import Sam2Model
    from .sam3 import Sam3Model
    from .segassess.component import SegAssessModel
    from .unigeoseg.checkpoint import Checkpoint

Model = TypeVar("Model")


class LoadedPreset:
    """The networks of one preset on one device, with copies on its further devices.

    Args:
        preset: Card and folder.
        device: Where to compute.
        dtype: Number format of every component; None takes `default_dtype` of each.
    """

    def __init__(
        self, preset: Preset, device: ChosenDevice, dtype: torch.dtype | None = None
    ) -> None:
        self.preset = preset
        self.device = device
        self._dtype = dtype
        self._models: dict[str, Any] = {}
        self._used: set[str] = set()
        self._lock = threading.RLock()
        self._others = tuple(LoadedPreset(preset, other, dtype) for other in device.others)

    @property
    def card(self) -> ModelCard:
        """The preset's card."""
        return self.preset.card

    @property
    def copies(self) -> tuple[LoadedPreset, ...]:
        """This preset and its copies, one for each device."""
        return (self, *self._others)

    @property
    def folder(self) -> Path:
        """The folder its files are relative to."""
        return self.preset.folder

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words its text encoder knows, None for any word."""
        if self.card.vocabulary is None:
            return None
        path = self.preset.path(self.card.vocabulary)
        return self.keep("vocabulary", lambda: Vocabulary.read(path))

    @property
    def clip(self) -> ClipModel:
        """Text and image encoder.

        Raises:
            JobError: ``MODEL_INVALID`` or ``MODEL_MISSING``, as for all components.
        """
        from .clip import load_clip  # noqa: PLC0415 - importing open_clip takes seconds

        component = self._component("clip", self.card.clip)
        return self.keep(
            "clip",
            lambda: load_clip(
                component, self.folder, self.device.device, self.dtype("clip"), self.vocabulary
            ),
        )

    @property
    def dino(self) -> DinoModel:
        """Self-supervised image encoder."""
        from .dino import load_dino  # noqa: PLC0415 - importing timm takes seconds

        component = self._component("dino", self.card.dino)
        return self.keep(
            "dino",
            lambda: load_dino(component, self.folder, self.device.device, self.dtype("dino")),
        )

    @property
    def sam2(self) -> Sam2Model:
        """Promptable mask model."""
        from .sam2 import load_sam2  # noqa: PLC0415 - the sam2 package may be absent

        component = self._component("sam2", self.card.sam2)
        return self.keep(
            "sam2",
            lambda: load_sam2(component, self.folder, self.device.device, self.dtype("sam2")),
        )

    @property
    def segassess(self) -> SegAssessModel:
        """Quality network of masks."""
        from .segassess.component import load_component  # noqa: PLC0415 - as the others

        component = self._component("segassess", self.card.others.get("segassess"))
        return self.keep(
            "segassess",
            lambda: load_component(
                component, self.folder, self.device.device, self.dtype("segassess")
            ),
        )

    @property
    def unigeoseg(self) -> Checkpoint:
        """Network and tokenizer for instructions, points and boxes."""
        from .unigeoseg.checkpoint import load_checkpoint  # noqa: PLC0415 - takes a second

        component = self._component("unigeoseg", self.card.unigeoseg)

        def load() -> Checkpoint:
            for weights in component.weights:
                verify_file(self.preset.path(weights.file), weights)
            folder = self.preset.path(component.folder)
            return load_checkpoint(folder, self.device.device, self.dtype("unigeoseg"))

        return self.keep("unigeoseg", load)

    @property
    def sam3(self) -> Sam3Model:
        """Model of every object that a phrase or example boxes show."""
        from .sam3 import load_sam3  # noqa: PLC0415 - as the others

        component = self._component("sam3", self.card.others.get("sam3"))
        return self.keep(
            "sam3",
            lambda: load_sam3(component, self.folder, self.device.device, self.dtype("sam3")),
        )

    @property
    def language(self) -> LanguageModel:
        """Vision-language model."""
        from .language import load_language  # noqa: PLC0415 - as the others

        component = self._component("language", self.card.others.get("language"))
        return self.keep(
            "language",
            lambda: load_language(
                component, self.folder, self.device.device, self.dtype("language")
            ),
        )

    @property
    def instruction_pixel_size(self) -> PixelSize | None:
        """The ground resolution that ``unigeoseg`` was made for, None for any."""
        component = self._component("unigeoseg", self.card.unigeoseg)
        return component.pixel_size or self.card.pixel_size

    @property
    def instruction_vocabulary(self) -> Vocabulary | None:
        """The words that ``unigeoseg`` knows, None for any word."""
        component = self._component("unigeoseg", self.card.unigeoseg)
        if component.vocabulary is None:
            return None
        path = self.preset.path(component.vocabulary)
        return self.keep("instruction_vocabulary", lambda: Vocabulary.read(path))

    def dtype(self, component: str) -> torch.dtype:
        """Return the number format a component is computed in."""
        return self._dtype or default_dtype(self.device.device, component)

    def keep(self, name: str, load: Callable[[], Model]) -> Model:
        """Return the object called ``name``, loading it the first time."""
        with self._lock:
            if name not in self._models:
                self._models[name] = load()
                self._used.add(name)
            model: Model = self._models[name]
            return model

    def loaded(self) -> tuple[str, ...]:
        """Return the names of what is loaded."""
        return tuple(self._models)

    def matches(
        self, preset: Preset, device: ChosenDevice, dtype: torch.dtype | None = None
    ) -> bool:
        """Return whether these are the networks of a preset on a device in a number format."""
        same_devices = _torch_devices(self.device) == _torch_devices(device)
        return self.preset == preset and same_devices and self._dtype == dtype

    def release(self) -> None:
        """Unload the networks and give their memory back."""
        with self._lock:
            self._models.clear()
            self._used.clear()
        for other in self._others:
            other.release()
        free_cached_memory()

    def unload_all_but(self, *needed: str) -> bool:
        """Unload the networks that a stage does not need; they are loaded again on their next use.

        Returns:
            Whether there were any.
        """
        with self._lock:
            spare = [name for name in self.card.components if name not in needed]
            found = [name for name in spare if self._models.pop(name, None) is not None]
        return bool(found)

    def provenance(self) -> Mapping[str, str]:
        """Return a result's facts about its models: names, digests, device, number formats."""
        facts = {
            "model": self.card.name,
            "model_revision": self.card.revision,
            "device": ", ".join(f"{each.device} ({each.name})" for each in self.device.all),
        }
        for name in self.card.components:
            if name not in self._used:
                continue
            digests = (
                file_sha256(self.preset.path(weights.file))
                for weights in self.card.weights_of(name)
            )
            facts[f"{name}_sha256"] = " ".join(digests)
            facts[f"{name}_dtype"] = str(self.dtype(name)).removeprefix("torch.")
        return facts

    def _component(self, name: str, component: Model | None) -> Model:
        if component is None:
            raise JobError(
                ErrorCode.MODEL_INVALID,
                f"The model {self.card.name} has no component {name}.",
                "Choose a model that serves this method.",
            )
        self.preset.require_files([name])
        return component


class PresetCache:
    """Keeps the preset used last loaded, so that the next job with it starts at once."""

    def __init__(self) -> None:
        self._current: LoadedPreset | None = None
        self._lock = threading.Lock()

    def get(
        self, preset: Preset, device: ChosenDevice, dtype: torch.dtype | None = None
    ) -> LoadedPreset:
        """Return the preset's networks; those of another preset or device are unloaded first."""
        with self._lock:
            current = self._current
            if current is None or not current.matches(preset, device, dtype):
                if current is not None:
                    current.release()
                current = self._current = LoadedPreset(preset, device, dtype)
            return current

    def loaded(self) -> tuple[str, ...]:
        """Return the names of the networks in memory."""
        return self._current.loaded() if self._current else ()

    def release(self) -> None:
        """Unload the networks and give their memory back."""
        with self._lock:
            if self._current is not None:
                self._current.release()
            self._current = None


def _torch_devices(device: ChosenDevice) -> tuple[torch.device, ...]:
    return tuple(each.device for each in device.all)
