"""Text files that appear under their final name only when they are complete."""

from __future__ import annotations

import uuid
from pathlib import Path

from geoseg_qgis.engine.files import unwritable


def write_text(path: str, text: str) -> None:
    """Write ``text`` as UTF-8, line ends as they are.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``DISK_FULL``; what was there before is then left alone.
    """
    final = Path(path)
    draft = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(final)
    except OSError as error:
        raise unwritable(final, error) from error
    finally:
        draft.unlink(missing_ok=True)
