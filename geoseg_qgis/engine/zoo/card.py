"""The card of a model preset: one JSON file beside the weights it speaks of.

A folder with a ``card.json`` and its weights is a preset, wherever it lies. Paper-sized and tiny
networks are written in the same words and loaded by the same code::

    {"name": "my-preset", "title": "My preset", "revision": "1", "licence": "Apache-2.0",
     "description": "...", "methods": ["sam2"],
     "sam2": {"model": "sam2_hiera_t", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
              "weights": {"file": "sam2.1_hiera_tiny.pt", "layout": "sam2", "size": 156008466}}}

UniGeoSeg is a checkpoint folder; every file that it needs is listed, shards and tokenizer too. The
words that a small one was taught may be named, and a ``pixel_size`` of its own::

    "unigeoseg": {"folder": "unigeoseg", "vocabulary": {"file": "unigeoseg/vocabulary.json"},
                  "weights": [{"file": "unigeoseg/config.json", "layout": "json"},
                              {"file": "unigeoseg/byte_tokenizer.json", "layout": "json"},
                              {"file": "unigeoseg/model.safetensors", "layout": "unigeoseg"}]}

A ``segassess`` object is described in `models.segassess.component`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal, cast

from geoseg_qgis.engine.json_reader import ObjectReader, read_object

from .architecture import Sam2Architecture, parse_sam2_architecture

CARD_FILE = "card.json"

DinoLayout = Literal["timm", "meta", "huggingface"]

# Components a method cannot do without. Regions may come from the user, so SAM 2 is not always one.
SCALES_BETWEEN = (0.25, 4.0)
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gumix": ("clip", "dino"),
        "mask_selection": ("clip",),
        "fast": ("clip",),
        "sam2": ("sam2",),
        "clicks": ("language", "sam2"),
        "segassess": ("segassess",),
        "unigeoseg": ("unigeoseg",),
        "sam3": ("sam3",),
    }
)
_OTHER_COMPONENTS = ("segassess", "language", "sam3")

# Whom a preset is for: nothing to download; a processor; 8 GB of graphics memory; more than that.
SUITS = ("offline", "laptop", "gpu-8gb", "gpu-big")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REVISION = re.compile(r"(?:commit:)?([0-9a-f]{40})")
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights and where it comes from.

    Attributes:
        file: Path relative to the card's folder.
        layout: Key layout of the tensors, for example ``open_clip``.
        size: Bytes, or None when unknown.
        sha256: Lower-case hexadecimal digest, or None when unknown.
        url: Direct address, or None.
        repository: Hugging Face repository, or None.
        revision: Commit of the repository, or None.
        repository_file: Path inside the repository when it is not ``file``.
        gated: Page where access is granted before the file may be fetched, None when nobody asks.
        note: How to get the file where no address may be fetched.
    """

    file: str
    layout: str
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    repository: str | None = None
    revision: str | None = None
    repository_file: str | None = None
    gated: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class PixelSize:
    """Metres per pixel at scale 1.0, and the range the models were made for."""

    preferred: float
    finest: float
    coarsest: float


@dataclass(frozen=True)
class TokenizerChoice:
    """How text becomes numbers.

    Attributes:
        kind: ``clip`` for the stock byte pair encoding, ``bpe`` for the card's own.
        file: Gzipped merges of a ``bpe`` tokenizer, relative to the card's folder.
        context_length: Numbers per text; None takes the model's.
    """

    kind: Literal["clip", "bpe"]
    file: str | None = None
    context_length: int | None = None


@dataclass(frozen=True)
class ClipComponent:
    """An open_clip model.

    Attributes:
        model: open_clip's name of it, or its configuration.
        weights: File in the published layout.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1.
        tokenizer: How texts become tokens.
        scales: Enlargements of a raster whose cosines mask_selection averages.
    """

    model: str | Mapping[str, Any]
    weights: WeightsFile
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tokenizer: TokenizerChoice
    scales: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class DinoComponent:
    """A DINOv3 model of timm.

    Attributes:
        model: timm name without a tag.
        arguments: Keyword arguments that change the architecture.
        weights: File in one of the three published layouts.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1.
        round_rope_periods: Round the rotary periods to bfloat16, as Meta's own files hold them.
    """

    model: str
    arguments: Mapping[str, Any]
    weights: WeightsFile
    mean: tuple[float, ...]
    std: tuple[float, ...]
    round_rope_periods: bool = False


@dataclass(frozen=True)
class Sam2Component:
    """A SAM 2 image model.

    Attributes:
        model: Sizes of the network.
        weights: File in the published layout.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1.
        multimask: Answer a single point, and points whose mask is unstable, with the best of three
            masks, as published; otherwise all points with the mask for unambiguous prompts.
        mirrors: Answer prompts with the mean over a tile and its three mirror images, which takes
            four times as long and steadies small networks.
        closer: Answer prompts about small objects with the mean over a tile and the part round
            the object, seen twice as large.
        in_turn: Ask several points without a box one after another, first one on the object, each
            with the answer before (the mean over mirrors) as a mask, for networks that learnt
            later points with one.
    """

    model: Sam2Architecture
    weights: WeightsFile
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multimask: bool = True
    mirrors: bool = False
    closer: bool = False
    in_turn: bool = False


@dataclass(frozen=True)
class UniGeoSegComponent:
    """A UniGeoSeg checkpoint folder.

    Attributes:
        folder: The checkpoint folder relative to the card's, ``.`` when it is the same.
        weights: Every file of it that is read: configuration, tokenizer, shards and their index.
        vocabulary: File of the words it was taught relative to the card's folder, None when any
            word will do.
        pixel_size: Ground resolution it was made for, None for that of the preset.
    """

    folder: str
    weights: tuple[WeightsFile, ...]
    vocabulary: str | None = None
    pixel_size: PixelSize | None = None


@dataclass(frozen=True)
class OtherComponent:
    """A component whose own loader reads its settings.

    Attributes:
        weights: Its files, in order.
        settings: The remaining members of its object.
    """

    weights: tuple[WeightsFile, ...]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ModelCard:
    """A preset's description.

    Attributes:
        name: Identifier in lower case.
        title: Name for people.
        revision: Version of the preset, part of every output's provenance.
        licence: Licence of the weights.
        description: What it is good for.
        methods: Static method names it serves.
        suits: Whom it is for, one of `SUITS`; None when the card does not say.
        pixel_size: Ground resolution it was made for, None when any.
        vocabulary: File of known words relative to the folder, None when any word will do.
        clip: Text and image encoder.
        dino: Self-supervised image encoder.
        sam2: Promptable mask model.
        unigeoseg: Model of instructions, points and boxes.
        others: Components with loaders of their own, by name.
        gumix: Settings of the GUMix-RS method that differ from its defaults.
    """

    name: str
    title: str
    revision: str
    licence: str
    description: str
    methods: tuple[str, ...]
    suits: str | None = None
    pixel_size: PixelSize | None = None
    vocabulary: str | None = None
    clip: ClipComponent | None = None
    dino: DinoComponent | None = None
    sam2: Sam2Component | None = None
    unigeoseg: UniGeoSegComponent | None = None
    others: Mapping[str, OtherComponent] = field(default_factory=dict)
    gumix: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> tuple[WeightsFile, ...]:
        """All files of all components, each path once."""
        every = (weights for name in self.components for weights in self.weights_of(name))
        return tuple({weights.file: weights for weights in every}.values())

    @property
    def total_size(self) -> int | None:
        """Bytes of all files, None when the size of one is unknown."""
        sizes = [weights.size for weights in self.files]
        return None if None in sizes else sum(size for size in sizes if size)

    def weights_of(self, component: str) -> tuple[WeightsFile, ...]:
        """Return the files of a component, none when the card has no such component."""
        if component in self.others:
            return self.others[component].weights
        if component == "unigeoseg":
            return () if self.unigeoseg is None else self.unigeoseg.weights
        part = {"clip": self.clip, "dino": self.dino, "sam2": self.sam2}.get(component)
        return () if part is None else (part.weights,)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components the card has."""
        own = {
            "clip": self.clip,
            "dino": self.dino,
            "sam2": self.sam2,
            "unigeoseg": self.unigeoseg,
        }
        return (*(name for name, part in own.items() if part is not None), *self.others)


def read_card(path: Path) -> ModelCard:
    """Return the card in the file ``path``.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    return parse_card(read_object(path), path.parent.name if path.name == CARD_FILE else path.stem)


def parse_card(data: Any, where: str = "card") -> ModelCard:
    """Return the card described by a JSON object.

    Args:
        data: The parsed object.
        where: How messages name the card.

    Raises:
        JobError: ``MODEL_INVALID`` naming the member that does not fit.
    """
    reader = ObjectReader(data, where)
    name = reader.text("name")
    if not _NAME.fullmatch(name):
        raise reader.fail("name", f"is {name!r}; use lower-case letters, digits, '.', '_' and '-'")
    card = ModelCard(
        name=name,
        title=reader.text("title"),
        revision=reader.text("revision"),
        licence=reader.text("licence"),
        description=reader.text("description"),
        methods=reader.texts("methods"),
        suits=reader.text("suits", None),
        pixel_size=_pixel_size(reader),
        vocabulary=_vocabulary(reader),
        clip=_clip(reader.child("clip")) if "clip" in reader else None,
        dino=_dino(reader.child("dino")) if "dino" in reader else None,
        sam2=_sam2(reader.child("sam2")) if "sam2" in reader else None,
        unigeoseg=_unigeoseg(reader.child("unigeoseg")) if "unigeoseg" in reader else None,
        others={key: _other(reader.child(key)) for key in _OTHER_COMPONENTS if key in reader},
        gumix=MappingProxyType(reader.mapping("gumix", {})),
    )
    for optional in ("clip", "dino", "sam2", "unigeoseg", *_OTHER_COMPONENTS):
        reader.raw(optional, None)
    reader.finish()
    _check_methods(card, reader)
    return card


def _check_methods(card: ModelCard, reader: ObjectReader) -> None:
    if card.suits is not None and card.suits not in SUITS:
        raise reader.fail("suits", f"is {card.suits!r}, not one of {', '.join(SUITS)}")
    if not card.methods:
        raise reader.fail("methods", "is empty")
    for method in card.methods:
        if method not in NEEDS:
            raise reader.fail("methods", f"names {method!r}; there are {', '.join(NEEDS)}")
        lacking = [part for part in NEEDS[method] if part not in card.components]
        if lacking:
            raise reader.fail("methods", f"names {method!r}, but there is no {lacking[0]}")


def _pixel_size(reader: ObjectReader) -> PixelSize | None:
    if "pixel_size" not in reader:
        reader.raw("pixel_size", None)
        return None
    inner = reader.child("pixel_size")
    size = PixelSize(inner.number("preferred"), inner.number("finest"), inner.number("coarsest"))
    inner.finish()
    if not 0 < size.finest <= size.preferred <= size.coarsest:
        raise reader.fail("pixel_size", "does not satisfy 0 < finest <= preferred <= coarsest")
    return size


def _vocabulary(reader: ObjectReader) -> str | None:
    if "vocabulary" not in reader:
        reader.raw("vocabulary", None)
        return None
    inner = reader.child("vocabulary")
    file = inner.file("file")
    inner.finish()
    return file


def _weights(reader: ObjectReader, layouts: tuple[str, ...] = ()) -> WeightsFile:
    layout = reader.text("layout")
    if layouts and layout not in layouts:
        raise reader.fail("layout", f"is {layout!r}, not one of {', '.join(layouts)}")
    digest = reader.text("sha256", None)
    match = _SHA256.fullmatch(digest) if digest else None
    if digest and not match:
        raise reader.fail("sha256", "is not 64 lower-case hexadecimal digits")
    revision = reader.text("revision", None)
    commit = _REVISION.fullmatch(revision) if revision else None
    if revision and not commit:
        raise reader.fail("revision", "is not the 40 hexadecimal digits of a commit")
    weights = WeightsFile(
        file=reader.file("file"),
        layout=layout,
        size=reader.integer("size", None, minimum=1),
        sha256=match.group(1) if match else None,
        url=_address(reader, "url"),
        repository=reader.text("repository", None),
        revision=commit.group(1) if commit else None,
        repository_file=reader.file("repository_file") if "repository_file" in reader else None,
        gated=_address(reader, "gated"),
        note=reader.text("note", None),
    )
    reader.raw("repository_file", None)
    reader.finish()
    return weights


def _address(reader: ObjectReader, name: str) -> str | None:
    address: str | None = reader.text(name, None)
    if address and not address.startswith("https://"):
        raise reader.fail(name, "does not begin with https://")
    return address


def _normalisation(reader: ObjectReader) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = reader.numbers("mean", 3), reader.numbers("std", 3)
    if min(std) <= 0:
        raise reader.fail("std", "is not positive")
    return mean, std


def _clip(reader: ObjectReader) -> ClipComponent:
    model = reader.raw("model")
    if not isinstance(model, (str, Mapping)):
        raise reader.fail("model", "is neither a name nor an object")
    mean, std = _normalisation(reader)
    component = ClipComponent(
        model=model,
        weights=_weights(reader.child("weights"), ("open_clip",)),
        mean=mean,
        std=std,
        tokenizer=_tokenizer(reader.child("tokenizer")),
        scales=_scales(reader),
    )
    reader.finish()
    return component


def _scales(reader: ObjectReader) -> tuple[float, ...]:
    if reader.raw("scales", None) is None:
        return ClipComponent.scales
    scales = reader.numbers("scales")
    low, high = SCALES_BETWEEN
    rising = all(first < second for first, second in zip(scales, scales[1:]))
    if not scales or not rising or not low <= scales[0] <= scales[-1] <= high:
        raise reader.fail("scales", f"is not a rising list of numbers from {low:g} to {high:g}")
    return scales


def _tokenizer(reader: ObjectReader) -> TokenizerChoice:
    kind = reader.text("kind")
    if kind not in ("clip", "bpe"):
        raise reader.fail("kind", f"is {kind!r}, not clip or bpe")
    choice = TokenizerChoice(
        kind=cast("Literal['clip', 'bpe']", kind),
        file=reader.file("file") if kind == "bpe" else None,
        context_length=reader.integer("context_length", None, minimum=3),
    )
    reader.finish()
    return choice


def _dino(reader: ObjectReader) -> DinoComponent:
    mean, std = _normalisation(reader)
    component = DinoComponent(
        model=reader.text("model"),
        arguments=MappingProxyType(reader.mapping("arguments", {})),
        weights=_weights(reader.child("weights"), ("timm", "meta", "huggingface")),
        mean=mean,
        std=std,
        round_rope_periods=reader.flag("round_rope_periods", default=False),
    )
    reader.finish()
    return component


def _sam2(reader: ObjectReader) -> Sam2Component:
    mean, std = _normalisation(reader)
    component = Sam2Component(
        model=parse_sam2_architecture(reader.raw("model"), f"{reader.where}.model"),
        weights=_weights(reader.child("weights"), ("sam2",)),
        mean=mean,
        std=std,
        multimask=reader.flag("multimask", default=True),
        mirrors=reader.flag("mirrors", default=False),
        closer=reader.flag("closer", default=False),
        in_turn=reader.flag("in_turn", default=False),
    )
    reader.finish()
    return component


def _unigeoseg(reader: ObjectReader) -> UniGeoSegComponent:
    folder = reader.file("folder") if "folder" in reader else "."
    reader.raw("folder", None)
    files = _files(reader)
    if not files:
        raise reader.fail("weights", "names no file")
    for weights in files:
        if str(PurePosixPath(weights.file).parent) != folder:
            raise reader.fail("weights", f"names {weights.file}, which is not directly in {folder}")
    component = UniGeoSegComponent(folder, files, _vocabulary(reader), _pixel_size(reader))
    reader.finish()
    return component


def _other(reader: ObjectReader) -> OtherComponent:
    return OtherComponent(_files(reader), MappingProxyType(reader.rest()))


def _files(reader: ObjectReader) -> tuple[WeightsFile, ...]:
    raw = reader.raw("weights", [])
    entries = raw if isinstance(raw, list) else [raw]
    return tuple(
        _weights(ObjectReader(entry, f"{reader.where}.weights[{index}]"))
        for index, entry in enumerate(entries)
    )
