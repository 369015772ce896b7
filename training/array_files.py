"""Arrays kept on disk between trainings, such as drawn scenes."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write named arrays into one compressed file, which appears when it is complete.

    Trainings that write the same file side by side do not disturb each other.

    Args:
        path: Final name, ending in ``.npz``; its folder must exist.
        arrays: What `numpy.load` gives back by these names.
    """
    draft = path.with_suffix(f".{uuid.uuid4().hex[:8]}.part.npz")
    np.savez_compressed(draft, **arrays)
    draft.replace(path)
