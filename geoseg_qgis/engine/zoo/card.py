"""The card of a model preset: one JSON file beside the weights that it describes.

A folder with a ``card.json`` and its weights is a preset, wherever it lies. Published and tiny
networks are described in the same way and loaded by the same code::

    {"name": "my-preset", "title": "My preset", "revision": "1", "licence": "Apache-2.0",
     "description": "...", "methods": ["sam2"],
     "sam2": {"model": "sam2_hiera_t", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
              "weights": {"file": "sam2.1_hiera_tiny.pt", "layout": "sam2", "size": 156008466}}}

UniGeoSeg is a checkpoint folder; every file that it needs is listed, shards and tokenizer too. It
may name the words that a small network was taught, and a ``pixel_size`` of its own::

    "unigeoseg": {"folder": "unigeoseg", "vocabulary": {"file": "unigeoseg/vocabulary.json"},
                  "weights": [{"file": "unigeoseg/config.json", "layout": "json"},
                              {"file": "unigeoseg/byte_tokenizer.json", "layout": "json"},
                              {"file": "unigeoseg/model.safetensors", "layout": "unigeoseg"}]}

A ``segassess`` object is described in `models.segassess.component`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StringConstraints,
    model_validator,
)
from pydantic.dataclasses import dataclass

from geoseg_qgis.engine.json_reader import (
    STRICT,
    ListOf,
    Members,
    OneOrMore,
    Settings,
    Size,
    Text,
    Triple,
    bounded,
    parse,
    read_bytes,
)

from .architecture import NamedArchitecture
from .methods import method_needs

CARD_FILE = "card.json"
# The largest card in the package has 4 KB, that of a model in hundreds of shards about 200.
_LARGEST_CARD = 1_000_000
# Drafts and receipts beside a file add up to 25 bytes to its name; file systems allow 255.
_LONGEST_NAME = 200
_LONGEST_PATH = 1_000

DinoLayout = Literal["timm", "meta", "huggingface"]

SCALES_BETWEEN = (0.25, 4.0)
_COMPONENTS = ("clip", "dino", "sam2", "unigeoseg", "segassess", "language", "sam3")

# Whom a preset suits: nothing to download; a processor; 8 GB of graphics memory; more than that.
Suits = Literal["offline", "laptop", "gpu-8gb", "gpu-big"]
SUITS: tuple[Suits, ...] = get_args(Suits)


def _inside_folder(file: str) -> str:
    """Return a relative path with forward slashes that stays inside the card's folder."""
    path = PurePosixPath(file)
    outside = path.is_absolute() or ".." in path.parts or not path.name
    if outside or any(letter in file for letter in "\\:\0"):
        raise ValueError(f"must be a file inside the card's folder, not {file[:60]!r}")
    if len(file) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_NAME for part in path.parts):
        raise ValueError(f"must not have names of more than {_LONGEST_NAME} bytes")
    return str(path)


def _digits(count: int, prefix: str) -> AfterValidator:
    def check(text: str) -> str:
        digits = text.removeprefix(prefix)
        if len(digits) != count or not set(digits) <= set("0123456789abcdef"):
            raise ValueError(f"must be {count} lower-case hexadecimal digits")
        return digits

    return AfterValidator(check)


def _with_layout(*layouts: str) -> AfterValidator:
    def check(weights: WeightsFile) -> WeightsFile:
        if weights.layout not in layouts:
            known = " or ".join((", ".join(layouts[:-1]), layouts[-1])).removeprefix(" or ")
            raise ValueError(f"must have the layout {known}, not {weights.layout[:60]!r}")
        return weights

    return AfterValidator(check)


def _file_member(data: Any) -> Any:
    """Return the file that an object like ``{"file": "words.json"}`` names."""
    if not isinstance(data, dict):
        return data
    if set(data) != {"file"}:
        raise ValueError("must be an object with the member file and no other")
    return data["file"]


def _rising(scales: tuple[float, ...]) -> tuple[float, ...]:
    low, high = SCALES_BETWEEN
    rising = all(first < second for first, second in zip(scales, scales[1:]))
    if not scales or not rising or not low <= scales[0] <= scales[-1] <= high:
        raise ValueError(f"must be a rising list of numbers from {low:g} to {high:g}")
    return scales


def _name_or_object(data: Any) -> Any:
    if not isinstance(data, (str, Mapping)):
        raise ValueError("must be a name or an object")
    return bounded(data)


File = Annotated[str, AfterValidator(_inside_folder)]
Folder = Annotated[str, AfterValidator(lambda name: name if name == "." else _inside_folder(name))]
Address = Annotated[Text, StringConstraints(pattern="^https://")]
Channels = Triple[float]
Deviations = Triple[Annotated[float, Field(gt=0)]]
Vocabulary = Annotated[File, BeforeValidator(_file_member)]


@dataclass(frozen=True, config=STRICT)
class WeightsFile(Members):
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
        gated: Page where access is granted before the file may be downloaded, or None.
        note: How to get the file where it cannot be downloaded.
    """

    file: File
    layout: Text
    size: Size | None = None
    sha256: Annotated[str, _digits(64, "sha256:")] | None = None
    url: Address | None = None
    repository: Text | None = None
    revision: Annotated[str, _digits(40, "commit:")] | None = None
    repository_file: File | None = None
    gated: Address | None = None
    note: Text | None = None


@dataclass(frozen=True, config=STRICT)
class PixelSize(Members):
    """Metres per pixel at scale 1.0, and the range the models were made for."""

    preferred: float
    finest: float
    coarsest: float

    @model_validator(mode="after")
    def _in_order(self) -> PixelSize:
        if not 0 < self.finest <= self.preferred <= self.coarsest:
            raise ValueError("must satisfy 0 < finest <= preferred <= coarsest")
        return self


@dataclass(frozen=True, config=STRICT)
class TokenizerChoice(Members):
    """How text becomes numbers.

    Attributes:
        kind: ``clip`` for the standard byte pair encoding, ``bpe`` for the card's own.
        file: Gzipped merges of a ``bpe`` tokenizer, relative to the card's folder.
        context_length: Numbers per text; None takes the model's.
    """

    kind: Literal["clip", "bpe"]
    file: File | None = None
    context_length: Annotated[Size, Field(ge=3)] | None = None

    @model_validator(mode="after")
    def _file_of_bpe(self) -> TokenizerChoice:
        if (self.kind == "bpe") != (self.file is not None):
            raise ValueError("must name a file if its kind is bpe, and none otherwise")
        return self


@dataclass(frozen=True, config=STRICT)
class ClipComponent(Members):
    """An open_clip model.

    Attributes:
        model: open_clip's name of it, or its configuration.
        weights: File in the published layout.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1.
        tokenizer: How texts become tokens.
        scales: Enlargements of a raster whose cosines mask_selection averages.
    """

    model: Annotated[str | Mapping[str, Any], PlainValidator(_name_or_object)]
    weights: Annotated[WeightsFile, _with_layout("open_clip")]
    mean: Channels
    std: Deviations
    tokenizer: TokenizerChoice
    scales: Annotated[ListOf[float], AfterValidator(_rising)] = (1.0,)


@dataclass(frozen=True, config=STRICT)
class DinoComponent(Members):
    """A DINOv3 model of timm.

    Attributes:
        model: timm name without a tag.
        arguments: Keyword arguments that change the architecture.
        weights: File in one of the three published layouts.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1.
        round_rope_periods: Round the rotary periods to bfloat16, as Meta's own files hold them.
    """

    model: Text
    arguments: Settings
    weights: Annotated[WeightsFile, _with_layout(*get_args(DinoLayout))]
    mean: Channels
    std: Deviations
    round_rope_periods: bool = False

    @model_validator(mode="before")
    @classmethod
    def _arguments_are_optional(cls, data: Any) -> Any:
        return {"arguments": {}, **data} if isinstance(data, dict) else data


@dataclass(frozen=True, config=STRICT)
class Sam2Component(Members):
    """A SAM 2 image model.

    Attributes:
        model: Sizes of the network.
        weights: File in the published layout.
        mean: Per channel, of values in 0..1.
        std: Per channel, of values in 0..1.
        multimask: For a single point, and for points whose mask is unstable, return the best of
            three masks, as published; otherwise always the mask for unambiguous prompts.
        mirrors: Return the mean over a tile and its three mirror images, which takes four times as
            long and steadies small networks.
        closer: For small objects, return the mean over a tile and the area around the object at
            twice the resolution.
        in_turn: Give several points without a box one after another, first one on the object, each
            with the mask before it (the mean over the mirror images), for networks that were
            trained to refine a mask.
    """

    model: NamedArchitecture
    weights: Annotated[WeightsFile, _with_layout("sam2")]
    mean: Channels
    std: Deviations
    multimask: bool = True
    mirrors: bool = False
    closer: bool = False
    in_turn: bool = False


@dataclass(frozen=True, config=STRICT)
class UniGeoSegComponent(Members):
    """A UniGeoSeg checkpoint folder.

    Attributes:
        weights: Every file of it that is read: configuration, tokenizer, shards and their index.
        folder: The checkpoint folder relative to the card's, ``.`` when it is the same.
        vocabulary: File of the words it was taught relative to the card's folder, None when any
            word will do.
        pixel_size: Ground resolution it was made for, None for that of the preset.
    """

    weights: Annotated[OneOrMore[WeightsFile], Field(min_length=1)]
    folder: Folder = "."
    vocabulary: Vocabulary | None = None
    pixel_size: PixelSize | None = None

    @model_validator(mode="after")
    def _in_one_folder(self) -> UniGeoSegComponent:
        require_folder(self.weights, self.folder)
        return self


@dataclass(frozen=True, config=STRICT)
class OtherComponent(Members):
    """A component whose own loader reads its settings.

    Attributes:
        weights: Its files, in order.
        settings: The remaining members of its object.
    """

    weights: OneOrMore[WeightsFile] = ()
    settings: Settings = field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        settings = {name: value for name, value in data.items() if name != "weights"}
        return {"weights": data.get("weights", []), "settings": settings}


@dataclass(frozen=True, config=STRICT)
class ModelCard(Members):
    """A preset's description.

    Attributes:
        name: Identifier in lower case.
        title: Name for people.
        revision: Version of the preset, recorded in every output.
        licence: Licence of the weights.
        description: What it is good for.
        methods: Static method names it serves.
        suits: Whom it suits, one of `SUITS`; None when the card does not say.
        pixel_size: Ground resolution it was made for, None when any.
        vocabulary: File of known words relative to the folder, None when any word will do.
        clip: Text and image encoder.
        dino: Self-supervised image encoder.
        sam2: Promptable mask model.
        unigeoseg: Model of instructions, points and boxes.
        segassess: Quality model of masks.
        language: Language model that reads images.
        sam3: Model of every object that a phrase names.
        gumix: Settings of the GUMix-RS method that differ from its defaults.
        memory: Peak bytes of the engine's process on a processor in float32, measured, by method.
    """

    name: Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]
    title: Text
    revision: Text
    licence: Text
    description: Text
    methods: Annotated[ListOf[Text], Field(min_length=1)]
    suits: Suits | None = None
    pixel_size: PixelSize | None = None
    vocabulary: Vocabulary | None = None
    clip: ClipComponent | None = None
    dino: DinoComponent | None = None
    sam2: Sam2Component | None = None
    unigeoseg: UniGeoSegComponent | None = None
    segassess: OtherComponent | None = None
    language: OtherComponent | None = None
    sam3: OtherComponent | None = None
    gumix: Settings = field(default_factory=dict)
    memory: Mapping[str, Size] = field(default_factory=dict)

    @model_validator(mode="after")
    def _methods_have_components(self) -> ModelCard:
        needs = method_needs()
        for method in self.methods:
            if method not in needs:
                known = ", ".join(needs)
                raise ValueError(f"names the method {method[:60]!r}; there are {known}")
            lacking = [name for name in needs[method] if name not in self.components]
            if lacking:
                raise ValueError(
                    f"names the method {method!r}, which needs the member {lacking[0]}"
                )
        for method in self.memory:
            if method not in self.methods:
                raise ValueError(
                    f"states memory for {method[:60]!r}, which is not one of its methods"
                )
        return self

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components the card has."""
        return tuple(name for name in _COMPONENTS if getattr(self, name) is not None)

    @property
    def others(self) -> dict[str, OtherComponent]:
        """Components with loaders of their own, by name."""
        found = {name: getattr(self, name) for name in self.components}
        return {name: one for name, one in found.items() if isinstance(one, OtherComponent)}

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
        if component not in self.components:
            return ()
        weights = getattr(self, component).weights
        return (weights,) if isinstance(weights, WeightsFile) else weights


def require_folder(files: Sequence[WeightsFile], folder: str) -> None:
    """Check that all files lie directly in a folder of the card.

    Raises:
        ValueError: Naming the file that lies elsewhere.
    """
    for weights in files:
        if str(PurePosixPath(weights.file).parent) != folder:
            raise ValueError(f"names {weights.file}, which is not directly in {folder}")


def read_card(path: Path) -> ModelCard:
    """Return the card in the file ``path``.

    Raises:
        JobError: ``MODEL_MISSING`` or ``MODEL_INVALID``.
    """
    where = path.parent.name if path.name == CARD_FILE else path.stem
    return parse(ModelCard, read_bytes(path, _LARGEST_CARD), where)


def parse_card(data: Any, where: str = "card") -> ModelCard:
    """Return the card described by a JSON object.

    Args:
        data: The parsed object.
        where: How messages name the card.

    Raises:
        JobError: ``MODEL_INVALID`` naming the member that does not fit.
    """
    return parse(ModelCard, data, where)
