"""The building blocks of the sam2 package, imported without its configuration machinery.

``import sam2`` starts hydra, and the trunk imports iopath; neither is needed to build a model from
plain arguments, and an engine's environment need not have them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

from geoseg_qgis.protocol.errors import ErrorCode, JobError


def _prepare() -> None:
    if "sam2" in sys.modules:
        return
    found = importlib.util.find_spec("sam2")
    if found is None or not found.submodule_search_locations:
        raise JobError(
            ErrorCode.ENGINE_MISSING,
            "The engine's environment lacks the package sam2.",
            "Repair the engine's environment.",
        )
    package = types.ModuleType("sam2")
    package.__path__ = list(found.submodule_search_locations)
    package.__spec__ = found
    sys.modules["sam2"] = package
    if importlib.util.find_spec("iopath") is None:
        _stand_in_for_iopath()


def _stand_in_for_iopath() -> None:
    """Offer the one name the trunk imports; it is used only to read weights by path."""
    file_io: Any = types.ModuleType("iopath.common.file_io")
    file_io.g_pathmgr = None
    for name in ("iopath", "iopath.common"):
        package = types.ModuleType(name)
        package.__path__ = []
        sys.modules[name] = package
    sys.modules["iopath.common.file_io"] = file_io


_prepare()

from sam2.modeling.backbones.hieradet import Hiera  # noqa: E402
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder  # noqa: E402
from sam2.modeling.position_encoding import PositionEmbeddingSine  # noqa: E402
from sam2.modeling.sam2_base import SAM2Base  # noqa: E402

__all__ = ["FpnNeck", "Hiera", "ImageEncoder", "PositionEmbeddingSine", "SAM2Base"]
