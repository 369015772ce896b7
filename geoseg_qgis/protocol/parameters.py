"""Parameters, declared once: in the fields of the dataclasses that make up a job.

`parameter` gives a field its label, help, limits and outside names. The dialogs of Processing, the
command line and the checks of jobs are made from these declarations::

    threshold: float = parameter(
        "Threshold", "Pixels less probable than this stay unclassified.", 0.5,
        name="THRESHOLD", minimum=0.0, maximum=1.0,
    )
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    Mapping,
    Optional,
    Tuple,
    Type,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from .errors import ErrorCode, JobError

REQUIRED: Any = object()
"""Default of a parameter that must be given."""
Members = Tuple[str, ...]
Translate = Callable[[str], str]
_KEY = "parameter"


class Choice(str, Enum):
    """Base of words to choose from: ``WORD = "word", "what it means"``."""

    help: str

    def __new__(cls, word: str, meaning: str = "") -> Choice:
        """Make a member of a word and its help."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.help = meaning
        return member


class Role(str, Enum):
    """What a text stands for, where the type of its field is not enough."""

    VALUE = "value"
    LINES = "lines"
    FIELD = "field"
    FOLDER = "folder"
    NEW_FOLDER = "new folder"
    RASTER_FILE = "raster file"
    POLYGON_FILE = "polygon file"
    HTML_FILE = "HTML file"
    CSV_FILE = "CSV file"


_NAMES = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
_PLURALS = {"a number": "numbers", "a whole number": "whole numbers", "a text": "texts"}
_OUTPUTS = (
    Role.RASTER_FILE, Role.POLYGON_FILE, Role.HTML_FILE, Role.CSV_FILE, Role.NEW_FOLDER,
)  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Attributes:
        label: Name for people, used in dialogs and in messages.
        help: One or two sentences.
        name: Name in Processing; empty when only the command line has it.
        flag: Option of the command line, or a bare word for a positional argument; made from
            ``name`` when empty.
        role: See `Role`.
        minimum: Lowest number.
        maximum: Highest number.
        above: Whether the lowest number itself is refused.
        unit: Unit of a number, or what the items of a list are.
        longest: Most characters of a text, or most items of a list.
        choices: Word to help of a text that is one of a few words.
        pattern: Regular expression of further words, which dialogs do not offer.
        only_in_dialogs: Words that only QGIS can offer, as they depend on a map layer.
        advanced: Whether dialogs show it under the advanced parameters.
        suggestion: What dialogs start with, where that differs from the default of jobs.
        layer: Name of the layer parameter that a field belongs to.
        polygons: Processing name of a second parameter for a layer of polygons.
        any_geometry: Whether a layer may hold points and lines as well as polygons.
        by_default: Whether dialogs ask for this output by default.
        path: Members that lead to the value in a `Job`.
        annotation: Type of the field as written.
        default: Default of the field, `REQUIRED` when it has none.
    """

    label: str
    help: str
    name: str = ""
    flag: str = ""
    role: Role = Role.VALUE
    minimum: float = -math.inf
    maximum: float = math.inf
    above: bool = False
    unit: str = ""
    longest: int = 1000
    choices: Mapping[str, str] = field(default_factory=dict)
    pattern: str = ""
    only_in_dialogs: Tuple[str, ...] = ()
    advanced: bool = False
    suggestion: Any = None
    layer: str = ""
    polygons: str = ""
    any_geometry: bool = False
    by_default: bool = True
    path: Members = ()
    annotation: Any = None
    default: Any = REQUIRED

    @property
    def option(self) -> str:
        """The option of the command line, for example ``--minimum-area``."""
        return self.flag or "--" + self.name.lower().replace("_", "-")

    @property
    def kind(self) -> Any:
        """The type of a value that is given: ``Optional[X]`` is ``X``."""
        members = [member for member in get_args(self.annotation) if member is not type(None)]
        if get_origin(self.annotation) is not Union:
            return self.annotation
        return members[0] if len(members) == 1 else Union[tuple(members)]

    @property
    def item_type(self) -> Any:
        """The type of the items of a list, None for what is no list."""
        return get_args(self.kind)[0] if get_origin(self.kind) is tuple else None

    @property
    def is_choice(self) -> bool:
        """Whether it is one of a fixed set of words."""
        return isinstance(self.kind, type) and issubclass(self.kind, Choice)

    @property
    def optional(self) -> bool:
        """Whether it may be left out."""
        return self.default is not REQUIRED

    @property
    def is_output(self) -> bool:
        """Whether it names a file or a folder to write."""
        return self.role in _OUTPUTS

    @property
    def words(self) -> Dict[str, str]:
        """Word to help of all choices; empty for what is no choice."""
        if self.is_choice:
            return {member.value: member.help for member in self.kind}
        return dict(self.choices)

    def title(self, translate: Translate = str) -> str:
        """Return the label with its unit."""
        label = translate(self.label)
        return f"{label} ({translate(self.unit)})" if self.unit else label

    def full_help(self, translate: Translate = str, without: Collection[str] = ()) -> str:
        """Return the help with the meaning of each word.

        Args:
            translate: Returns a text in the language of the user.
            without: Words that are not offered.
        """
        words = {word: text for word, text in self.words.items() if word not in without}
        meanings = "; ".join(f"{word}: {translate(text)}" for word, text in words.items())
        return f"{translate(self.help)} {meanings}." if meanings else translate(self.help)

    def check(self, value: Any) -> None:
        """Refuse a value of the right type that lies outside the limits.

        Raises:
            JobError: ``INVALID_JOB``.
        """
        if isinstance(value, tuple):
            if len(value) > self.longest:
                raise self.error(
                    f"{self.label} may have at most {self.longest:,} entries, not {len(value):,}.",
                    "Give fewer entries.",
                )
            for item in value:
                self._check_one(item)
        else:
            self._check_one(value)

    def misfit(self, expected: str, value: Any) -> JobError:
        """Return the error for a value of the wrong type, for example not ``a number``."""
        if value is None and not self.optional:
            return self.missing()
        if self.words:
            return self.error(f"{self.label} cannot be {shown(value)}.", self._advice())
        it = "it"
        if self.item_type is not None and expected in _PLURALS:
            expected, it = _PLURALS[expected], "one of them"
        return self.error(
            f"{self.label} must be {expected}; {it} is {shown(value)}.", self._advice()
        )

    def missing(self) -> JobError:
        """Return the error for a value that is needed and was not given."""
        return self.error(f"Nothing was given for {self.label}.", self._advice())

    def error(self, message: str, hint: str) -> JobError:
        """Return an error about this parameter; its detail is the path of the value."""
        return JobError(ErrorCode.INVALID_JOB, message, hint, ".".join(("Job", *self.path)))

    def _check_one(self, value: Any) -> None:
        if isinstance(value, (bool, Enum)):
            return
        if isinstance(value, (int, float)):
            high_enough = value > self.minimum if self.above else value >= self.minimum
            if not (high_enough and value <= self.maximum):
                it = "it" if self.item_type is None else "one of them"
                message = f"{self.label} {self._range()}; {it} is {shown(value)}."
                raise self.error(message, self._example())
        elif isinstance(value, str):
            if len(value) > self.longest:
                message = f"{self.label} may have at most {self.longest:,} characters"
                raise self.error(f"{message}, not {len(value):,}.", "Write a shorter text.")
            if self.choices and value not in self.choices and not self._matches(value):
                raise self.misfit("", value)

    def _matches(self, value: str) -> bool:
        return bool(self.pattern) and re.fullmatch(self.pattern, value) is not None

    def _range(self) -> str:
        low, high = shown(self.minimum), shown(self.maximum)
        if self.above:
            return f"must be greater than {low} and at most {high}"
        if math.isinf(self.minimum) or math.isinf(self.maximum):
            return "must be finite"
        return f"must lie between {low} and {high}"

    def _example(self) -> str:
        if isinstance(self.default, (int, float)):
            return f"Give a number in this range, such as {self.default:g}."
        return self._advice()

    def _advice(self) -> str:
        if self.words:
            return f"Choose one of {', '.join(self.words)}."
        plain = _NAMES.get(self.kind) or _PLURALS.get(_NAMES.get(self.item_type, ""))
        if plain is None:
            return "Choose a value for it."
        if math.isinf(self.maximum):
            return f"Give {plain}."
        start = "above" if self.above else "from"
        return f"Give {plain} {start} {shown(self.minimum)} to {shown(self.maximum)}."


def parameter(
    label: str,
    help: str,  # noqa: A002
    default: Any = REQUIRED,
    **facts: Any,
) -> Any:
    """Return the dataclass field of a parameter.

    Args:
        label: Name for people.
        help: One or two sentences.
        default: Default of the field; without one the parameter is required.
        **facts: Further attributes of `Parameter`.
    """
    metadata = {_KEY: Parameter(label, help, **facts)}
    if default is REQUIRED:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def parameter_of(
    member: dataclasses.Field[Any], annotation: Any, path: Members = ()
) -> Optional[Parameter]:
    """Return the declaration of a dataclass field, None when it is no parameter.

    Args:
        member: The field.
        annotation: Its type.
        path: Members that lead to it in a `Job`.
    """
    found: Optional[Parameter] = member.metadata.get(_KEY)
    if found is None:
        return None
    default = REQUIRED if member.default is dataclasses.MISSING else member.default
    return dataclasses.replace(found, annotation=annotation, path=path, default=default)


def declared(cls: Type[Any], path: Members = ()) -> Iterator[Parameter]:
    """Yield the parameters of a dataclass and of the dataclasses in it, in their order.

    Args:
        cls: The dataclass.
        path: Members that lead to it in a `Job`.
    """
    hints = get_type_hints(cls)
    for member in dataclasses.fields(cls):
        kind, here = hints[member.name], (*path, member.name)
        found = parameter_of(member, kind, here)
        if found is not None:
            yield found
        elif dataclasses.is_dataclass(kind):
            yield from declared(kind, here)  # type: ignore[arg-type]


def type_name(kind: Any) -> str:
    """Return a type as messages name it, for example ``a number``."""
    return _NAMES.get(kind) or f"of type {kind.__name__}"


def shown(value: Any) -> str:
    """Return a value as messages show it: numbers with separators, texts in quotes, shortened."""
    if value is None:
        return "empty"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return f"{value:,.15g}"
        except OverflowError:
            return "too large"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
