"""The fixed conversation around an instruction, and its placeholders.

A dialogue is a list of token ids in which negative ids stand for the image, the instruction, the
(empty) segmentation token and the answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

IMAGE, SEGMENTATION, INSTRUCTION, ANSWER = -200, -201, -204, -205
IGNORED_LABEL = -100
SEGMENTATION_WORD = "[SEG]"
END_OF_TEXT = "<|endoftext|>"

_PLACEHOLDERS = {
    "<image>": IMAGE,
    "<seg>": SEGMENTATION,
    "<refer>": INSTRUCTION,
    "<answer>": ANSWER,
}
_SPLITTER = re.compile("(" + "|".join(map(re.escape, _PLACEHOLDERS)) + ")")
_RESERVED = re.compile(
    "|".join(map(re.escape, [*_PLACEHOLDERS, SEGMENTATION_WORD, "[PAD]", END_OF_TEXT]))
)
_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
)
_HUMAN = (
    "This is an image <image>, Please doing {kind} Segmentation according to the following "
    "instruction:\n<refer>"
)


class Tokenizer(Protocol):
    """What the template needs of a tokenizer."""

    @property
    def segmentation_id(self) -> int:
        """Id of the token that ends every instruction and answer."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, added tokens included, without start or end tokens."""


class Template(NamedTuple):
    """One conversation: the wording of the request and of the reply."""

    kind: str
    reply: str

    @property
    def request(self) -> str:
        """The text up to and including the space before the reply."""
        human = _HUMAN.format(kind=self.kind)
        return f"[INST] <<SYS>>\n{_SYSTEM}\n<</SYS>>\n\n{human} [/INST] "

    @property
    def text(self) -> str:
        """The whole conversation."""
        return f"{self.request}{self.reply} {END_OF_TEXT}"


UNIFIED = Template("Reasoning", "Sure, It is <seg>. \n<answer>.")
REFSEGRS = Template("Referring", "\nSure. It is <seg>. ")
RRSISD = Template("Referring", "\nSure.")
TEMPLATES = {"unified": UNIFIED, "refsegrs": REFSEGRS, "rrsisd": RRSISD}
"""By the name of the data set class of the published code."""


class Dialogue(NamedTuple):
    """Token ids with placeholders, and the label of each."""

    ids: list[int]
    labels: list[int]


def encode_template(template: Template, tokenizer: Tokenizer) -> Dialogue:
    """Encode a conversation; the labels of the request are ignored.

    Supervision starts one token before the end of the request, because its last space becomes part
    of the reply's first token.
    """
    ids = _encode_text(template.text, tokenizer)
    ignored = len(_encode_text(template.request, tokenizer)) - 1
    return Dialogue(ids, [IGNORED_LABEL] * ignored + ids[ignored:])


def encode_instruction(instruction: str, tokenizer: Tokenizer) -> list[int]:
    """Encode an instruction with a space before it and the segmentation token after it."""
    return [*tokenizer.encode(f" {instruction}"), tokenizer.segmentation_id]


def encode_answer(answer: str, tokenizer: Tokenizer) -> list[int]:
    """Encode an answer, which may be empty, with the segmentation token after it."""
    tokens = tokenizer.encode(answer) if answer else []
    return [*tokens, tokenizer.segmentation_id]


def clean_instruction(instruction: str) -> str:
    """Remove placeholders and special tokens, which users must not write."""
    return " ".join(_RESERVED.sub(" ", instruction).split())


def _encode_text(text: str, tokenizer: Tokenizer) -> list[int]:
    ids: list[int] = []
    for chunk in _SPLITTER.split(text):
        if chunk in _PLACEHOLDERS:
            ids.append(_PLACEHOLDERS[chunk])
        elif chunk:
            ids.extend(tokenizer.encode(chunk))
    return ids
