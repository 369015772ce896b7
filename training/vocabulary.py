"""Words that the built-in CLIP knows: concepts, their synonyms, and sentences around them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from .colours import COLOUR_BIT, COLOURS
from .land_cover import ANY, BIT, partial_label
from .sizes import SIZE_BIT, SIZES


@dataclass(frozen=True)
class Concept:
    """A meaning that queries can name.

    Attributes:
        name: Canonical word.
        surfaces: Bit mask of the surfaces that it covers.
        synonyms: Expressions, canonical word first.
    """

    name: str
    surfaces: int
    synonyms: tuple[str, ...]


CONCEPTS: Final = (
    Concept(
        "building",
        partial_label("building"),
        ("building", "roof", "house", "home", "hall", "warehouse", "buildings", "houses", "roofs",
         "rooftop", "residential building", "apartment building", "industrial building", "shed",
         "hangar", "villa", "hut", "building roof", "facade"),
    ),
    Concept(
        "road",
        partial_label("road"),
        ("road", "street", "highway", "asphalt", "pavement", "roads", "streets", "motorway", "lane",
         "paved road", "asphalt road", "parking lot", "driveway", "impervious surface",
         "paved area"),
    ),
    Concept(
        "tree",
        partial_label("tree"),
        ("tree", "forest", "woodland", "tree canopy", "trees", "tree crown", "wood", "canopy",
         "high vegetation", "palm tree", "treetop"),
    ),
    Concept(
        "grass",
        partial_label("grass"),
        ("grass", "meadow", "lawn", "low vegetation", "grassland", "rangeland", "pasture", "turf"),
    ),
    Concept(
        "vegetation",
        partial_label("tree", "grass", "field"),
        ("vegetation", "plants", "greenery", "green area", "shrub", "bush", "green space", "park",
         "garden"),
    ),
    Concept(
        "water",
        partial_label("water"),
        ("water", "river", "lake", "sea", "pond", "ocean", "canal", "water body", "reservoir",
         "lagoon", "stream", "swimming pool", "pool"),
    ),
    Concept(
        "land",
        partial_label("land"),
        ("land", "bare land", "soil", "sand", "desert", "ground", "barren", "bareland", "bare soil",
         "bare ground", "barren land", "unpaved land", "dirt", "earth", "beach", "open ground"),
    ),
    Concept(
        "car",
        partial_label("car"),
        ("car", "vehicle", "truck", "bus", "cars", "vehicles", "van", "automobile",
         "small vehicle"),
    ),
    Concept(
        "field",
        partial_label("field"),
        ("field", "cropland", "farmland", "agriculture", "agricultural", "crop", "crops",
         "agricultural land", "fields", "arable land", "plantation"),
    ),
)  # fmt: skip

BACKGROUND_WORDS: Final = ("background", "clutter", "other", "others", "unlabeled", "nothing")
STRANGER_WORDS: Final = (
    "ship", "boat", "airplane", "bridge", "stadium", "harbor", "tennis court", "storage tank",
    "person", "animal", "railway", "chimney", "wind turbine", "solar panel", "snow", "cloud",
    "helicopter", "roundabout", "playground", "dam",
)  # fmt: skip

ROOF_WORDS: Final = ("roof", "roof", "roofs", "building", "house", "rooftop")
"""Words that colours and sizes go with."""
COLOURED_SHARE: Final = 0.25
SIZED_SHARE: Final = 0.05
ADJECTIVES: Final = {**{name: (name,) for name in COLOURS}, **SIZES}

AERIAL_TEMPLATES: Final = (
    "{}", "{}.", "the {}", "an aerial image of {}", "an aerial image of a {}.",
    "a satellite image of {}.", "a satellite photo of the {}.", "an orthophoto showing {}",
    "{} seen from above", "a remote sensing image of a {}.", "a drone photo of {}.",
    "this is {}", "the {} in the scene.", "there is {} in the image.",
)  # fmt: skip


def templates() -> tuple[str, ...]:
    """Return the sentence templates: aerial ones and the 80 of the zero-shot ImageNet protocol."""
    import open_clip  # noqa: PLC0415 - slow import that only training needs

    return AERIAL_TEMPLATES + tuple(make("{}") for make in open_clip.OPENAI_IMAGENET_TEMPLATES)


def words_of(expressions: tuple[str, ...]) -> list[str]:
    """Return the sorted distinct lower-case words of some expressions."""
    found = set()
    for expression in expressions:
        found.update(re.findall(r"[a-z]+", expression.lower()))
    return sorted(found)


def known_expressions() -> tuple[str, ...]:
    """Return every expression that training shows with a meaning: classes, colours and sizes."""
    named = tuple(word for concept in CONCEPTS for word in concept.synonyms)
    qualities = tuple(word for words in ADJECTIVES.values() for word in words)
    return named + qualities + BACKGROUND_WORDS


def corpus_words() -> list[str]:
    """Return every word that must be one piece of the tokenizer."""
    return words_of(known_expressions() + STRANGER_WORDS + templates())


def vocabulary_card() -> dict[str, object]:
    """Return the content of `vocabulary.json`: known words, and synonyms of each class."""
    classes = {concept.name: list(concept.synonyms) for concept in CONCEPTS}
    classes["background"] = list(BACKGROUND_WORDS)
    return {"words": words_of(known_expressions()), "classes": classes}


@dataclass(frozen=True)
class Queries:
    """Texts of one training step.

    Attributes:
        sentences: Q lists of sentences about one query each.
        surfaces: Q bit masks; 0 for an expression that the labels do not have.
        coloured: Whether some of them name colours of roofs.
    """

    sentences: list[list[str]]
    surfaces: list[int]
    coloured: bool


class QuerySampler:
    """Draws sets of class texts as users write them: fine, coarse, few, with or without rest.

    Args:
        seed: Seed of every random choice.
        sentences: Sentences averaged for one query.
    """

    def __init__(self, seed: int, sentences: int = 3) -> None:
        self.random = np.random.default_rng(seed)
        self.sentences = sentences
        self._templates = templates()
        named = {word for words in ADJECTIVES.values() for word in words}
        self._plain = tuple(text for text in self._templates if not named & set(text.split()))

    def queries(self) -> Queries:
        """Return the queries of one step."""
        qualities = self._qualities()
        concepts = self._concepts()
        if qualities:
            concepts = [concept for concept in concepts if concept.name != "building"]
        words = [(self._word(c.synonyms), c.surfaces) for c in concepts]
        rest = ANY
        for concept in concepts:
            rest &= ~concept.surfaces
        if qualities:
            roofs, left = self._roofs(qualities)
            words += roofs
            rest = (rest & ~BIT["building"]) | left
        if self.random.random() < 0.4 or len(words) < 3:
            words.append((self._word(BACKGROUND_WORDS), rest))
        if self.random.random() < 0.4:
            words.append((str(self.random.choice(STRANGER_WORDS)), 0))
        # Other templates might contradict it: "a photo of the large small roof".
        texts = self._plain if qualities else self._templates
        sentences = [self._fill(word, texts) for word, _ in words]
        return Queries(sentences, [mask for _, mask in words], qualities is COLOUR_BIT)

    def _qualities(self) -> Mapping[str, int]:
        """Return the colours or sizes that this step names, most often none."""
        draw = self.random.random()
        if draw < COLOURED_SHARE:
            return COLOUR_BIT
        return SIZE_BIT if draw < COLOURED_SHARE + SIZED_SHARE else {}

    def _roofs(self, bits: Mapping[str, int]) -> tuple[list[tuple[str, int]], int]:
        """Return roofs of some qualities, often with those of all others, and the bits left."""
        count = int(self.random.integers(1, len(bits) + 1))
        chosen = [str(name) for name in self.random.choice(list(bits), count, replace=False)]
        words = [
            (f"{self._word(ADJECTIVES[name])} {self.random.choice(ROOF_WORDS)}", bits[name])
            for name in chosen
        ]
        left = sum(bits.values()) - sum(bits[name] for name in chosen)
        if left and self.random.random() < 0.5:
            return [*words, (self._word(CONCEPTS[0].synonyms), left)], 0
        return words, left

    def _concepts(self) -> list[Concept]:
        fine = [c for c in CONCEPTS if c.name != "vegetation"]
        draw = self.random.random()
        if draw < 0.35:
            return fine
        if draw < 0.65:
            legend = ("building", "land", "road", "vegetation", "water")
            return [c for c in CONCEPTS if c.name in legend]
        count = int(self.random.integers(1, 7))
        chosen = self.random.choice(len(CONCEPTS), count, replace=False)
        return [CONCEPTS[int(index)] for index in chosen]

    def _word(self, expressions: tuple[str, ...]) -> str:
        if self.random.random() < 0.3:
            return expressions[0]
        return str(self.random.choice(expressions))

    def _fill(self, word: str, texts: tuple[str, ...]) -> list[str]:
        chosen = self.random.choice(len(texts), self.sentences)
        return [texts[int(index)].format(word) for index in chosen]
