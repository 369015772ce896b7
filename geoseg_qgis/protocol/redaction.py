"""Takes secrets out of texts that are kept: files, history, logs, messages.

Sources of layers are addresses and connection texts, which may hold keys, passwords and tokens.
Everything that is written down goes through `redact` or `redact_data` first; what is opened stays
as it is.
"""

from __future__ import annotations

import re
from typing import Any, List, Match, Pattern, Tuple

HIDDEN = "***"
"""What stands in place of a secret."""

# Names of values that let somebody in, in addresses, connection texts and JSON, in any case. Within
# a name, "-" and "_" may be left out.
_NAMES = (
    "(?:[a-z0-9]{1,20}[-_.]){0,3}(?:api|app|access|account|auth|client|map|maps|private|secret|session|"
    "shared|storage|subscription|user|security)[-_]?(?:key|token|secret|id[-_]?token|password|pwd)",
    "(?:[a-z0-9]{1,20}[-_]){0,3}(?:token|password|passwd|passphrase|pwd|secret|signature|credential|"
    "credentials|userpwd)",
    "x-(?:amz|goog|ms|ds)-[a-z0-9-]{1,40}",
    "awsaccesskeyid",
    "authcfg",
    "authorization",
    "connectid",
    "(?:http[-_]?)?cookie",
    "key|sig|tk|jwt|sas|hmac|pass",
)
_NAME = f"(?:{'|'.join(_NAMES)})"
_START = r"(?:(?<=[?&;|,\s'\"(<>])|(?<=%3F)|(?<=%26)|(?<=%3f)|(?<=header\.)|(?<=header:)|^)"
_END_OF_VALUE = r"(?:(?!%26)[^&;|,\s'\"<>)\\])+"

_RULES: Tuple[Tuple[Pattern[str], str], ...] = (
    # Members of JSON, and of JSON that stands in a text of JSON.
    (
        re.compile(rf"([\"'])({_NAME})([\"']\s*:\s*[\"'])(?:\\.|[^\"'\\])+", re.I),
        rf"\1\2\3{HIDDEN}",
    ),
    (
        re.compile(rf"(\\+\")({_NAME})(\\+\"\s*:\s*\\+\")[^\"\\]+", re.I),
        rf"\1\2\3{HIDDEN}",
    ),
    # Elements of the XML that describes services for GDAL.
    (
        re.compile(rf"(<({_NAME})>)[^<]+(</\2>)", re.I),
        rf"\1{HIDDEN}\3",
    ),
    # A scheme of authorisation and what follows it, in headers; the space may be encoded.
    (
        re.compile(
            r"\b(Bearer|Basic|Digest|Negotiate|ApiKey|Token)(\s+|%20|\+)[A-Za-z0-9._~+/%=-]{6,}",
            re.I,
        ),
        rf"\1\2{HIDDEN}",
    ),
    # User and password before a host.
    (
        re.compile(r"\b([a-z][a-z0-9+.-]{0,20}:(?:\\?/){2})[^\s/@'\"<>?#\\]+@", re.I),
        rf"\1{HIDDEN}@",
    ),
    (
        re.compile(r"(%3A%2F%2F)(?:(?!%2F|%3F|%40)[^\s&'\"<>\\])+(%40)", re.I),
        rf"\1{HIDDEN}\2",
    ),
    # name='value' of connection texts.
    (
        re.compile(rf"{_START}({_NAME})(\s*=\s*)(\\?')(?:[^'\\]|\\.)*(\\?')", re.I),
        rf"\1\2\3{HIDDEN}\4",
    ),
    # name=value of addresses; "=" may be encoded.
    (
        re.compile(rf"{_START}({_NAME})(=|%3D){_END_OF_VALUE}", re.I),
        rf"\1\2{HIDDEN}",
    ),
    # Tokens that are known by their form: Hugging Face, GitHub, AWS, Google, Mapbox.
    (
        re.compile(
            r"\b(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|A[KS]IA[A-Z0-9]{16}"
            r"|AIza[A-Za-z0-9_-]{30,}|[ps]k\.eyJ[A-Za-z0-9._-]{20,})\b"
        ),
        HIDDEN,
    ),
)  # fmt: skip
# A header of a request, on a line of its own or within /vsicurl?header.NAME=VALUE.
_HEADER = re.compile(
    rf"((?:header[.:]|^|[\s'\"]){_NAME}(?:\s*:\s*|=|%3D))((?:(?!%26)[^&\n\r'\"<>|\\])+)",
    re.IGNORECASE | re.MULTILINE,
)
# A text without any of these holds no secret of the forms above.
_HINT = re.compile(
    r"://|%3a|%3d|=|:|hf_|gh[pousr]_|A[KS]IA|AIza|[ps]k\.eyJ|bearer|basic|token", re.IGNORECASE
)


def redact(text: str) -> str:
    """Return a text with `HIDDEN` in place of keys, passwords, tokens and signatures."""
    if not text or not _HINT.search(text):
        return text
    text = _HEADER.sub(_hide_header, text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_data(data: Any) -> Any:
    """Return JSON data with every text in it redacted, and values of names that mean a secret."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, dict):
        return {
            name: HIDDEN
            if isinstance(value, str) and value and is_secret_name(str(name))
            else redact_data(value)
            for name, value in data.items()
        }
    if isinstance(data, (list, tuple)):
        items: List[Any] = [redact_data(item) for item in data]
        return items if isinstance(data, list) else tuple(items)
    return data


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name lets somebody in."""
    return re.fullmatch(_NAME, name, re.IGNORECASE) is not None


def _hide_header(found: Match[str]) -> str:
    name, value = found.group(1), found.group(2)
    # "key: ..." in a sentence is no header of a request.
    plain = not re.search(r"header[.:]|authorization|cookie|api[-_]?key|token", name, re.IGNORECASE)
    return found.group(0) if plain or not value.strip() else f"{name}{HIDDEN}"
