"""Text that may stand in every file format."""

from __future__ import annotations

import re

# XML 1.0 allows none of these: control characters but tab and line ends, halves of surrogate pairs,
# and two code points that are no characters.
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def plain_text(text: str) -> str:
    """Return a text without the characters that XML does not allow, and control characters."""
    return _REFUSED.sub("", text)
