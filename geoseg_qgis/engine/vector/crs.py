"""The way from the CRS of features to that of a raster."""

from __future__ import annotations

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from geoseg_qgis.protocol.errors import ErrorCode, JobError


def transformer_between(crs: str, target: str, what: str) -> Transformer | None:
    """Return what turns coordinates, x first; None where nothing is to be turned or known.

    Args:
        crs: CRS of the features, in any words that PROJ takes; may be empty.
        target: CRS of the raster, likewise.
        what: Plural word for the features, for sentences.

    Raises:
        JobError: ``SOURCE_UNREADABLE`` when there is no way from one to the other.
    """
    if not crs or not target:
        return None
    try:
        here, there = CRS.from_user_input(crs), CRS.from_user_input(target)
        if here == there:
            return None
        return Transformer.from_crs(here, there, always_xy=True)
    except CRSError as error:
        raise JobError(
            ErrorCode.SOURCE_UNREADABLE,
            f"The CRS of the {what} cannot be brought onto that of the raster.",
            f"Save the {what} in the raster's CRS.",
            str(error),
        ) from error
