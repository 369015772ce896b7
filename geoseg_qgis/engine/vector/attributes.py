"""Fields of a vector layer, copied from one file to another with their names and types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyogrio.raw
from numpy.typing import NDArray

from geoseg_qgis.protocol.source import VectorSource

from .paths import readable

_EXACT_IN_FLOAT = 2.0**53


@dataclass(frozen=True)
class Attributes:
    """Columns of equal length.

    Attributes:
        names: Their names, no two alike when letter case is ignored.
        values: Their values, in the numpy type of the field even where some are empty.
        empty: Where each is NULL.
    """

    names: tuple[str, ...] = ()
    values: tuple[NDArray[Any], ...] = ()
    empty: tuple[NDArray[np.bool_], ...] = ()

    def column(self, name: str) -> list[Any]:
        """Return the values of a column as Python objects, None where they are NULL.

        Raises:
            KeyError: When there is no such column.
        """
        if name not in self.names:
            raise KeyError(name)
        index = self.names.index(name)
        pairs = zip(self.values[index].tolist(), self.empty[index].tolist(), strict=True)
        return [None if is_empty else value for value, is_empty in pairs]

    def take(self, rows: NDArray[np.int64]) -> Attributes:
        """Return some rows, in that order."""
        return Attributes(
            self.names,
            tuple(values[rows] for values in self.values),
            tuple(empty[rows] for empty in self.empty),
        )

    def with_columns(self, columns: Mapping[str, NDArray[Any]]) -> Attributes:
        """Return these and more columns; a new name that exists already gets ``_1`` or so."""
        filled = (np.zeros(len(column), np.bool_) for column in columns.values())
        return Attributes(
            (*self.names, *free_names(columns, self.names)),
            (*self.values, *columns.values()),
            (*self.empty, *filled),
        )


def free_names(wanted: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """Return each wanted name, with ``_1``, ``_2`` ... appended where it exists already.

    Letter case does not matter, as in GeoPackages: ``Score`` and ``score`` are the same.
    """
    known = {name.casefold() for name in taken}
    names = []
    for name in wanted:
        free, number = name, 0
        while free.casefold() in known:
            number += 1
            free = f"{name}_{number}"
        known.add(free.casefold())
        names.append(free)
    return tuple(names)


def attributes_of(
    source: VectorSource, meta: Mapping[str, Any], columns: Iterable[NDArray[Any]]
) -> Attributes:
    """Return the attributes of a layer that pyogrio has read.

    pyogrio returns whole numbers and booleans beside NULLs as floating point; they get their type
    back. Lists, which few formats support, become JSON. Binary fields are left out.

    Args:
        source: The layer, read again where large whole numbers were rounded.
        meta: Description of the fields by ``pyogrio.raw.read``.
        columns: Values of the fields by the same.
    """
    names, values, empty = [], [], []
    for name, kind, field_type, column in zip(
        meta["fields"], meta["dtypes"], meta["ogr_types"], columns, strict=True
    ):
        if field_type == "OFTBinary":
            continue
        missing = _missing(column)
        names.append(str(name))
        empty.append(missing)
        if column.dtype.kind == "f" and kind[:3] in ("int", "boo", "uin"):
            values.append(_whole(source, str(name), np.dtype(kind), column, missing))
        else:
            values.append(_as_json(column) if field_type.endswith("List") else column)
    return Attributes(free_names(names, ()), tuple(values), tuple(empty))


def _missing(column: NDArray[Any]) -> NDArray[np.bool_]:
    if column.dtype.kind == "f":
        return np.asarray(np.isnan(column))
    if column.dtype.kind == "M":
        return np.asarray(np.isnat(column))
    if column.dtype.kind == "O":
        return np.array([value is None for value in column], dtype=np.bool_)
    return np.zeros(len(column), dtype=np.bool_)


def _whole(
    source: VectorSource,
    name: str,
    kind: np.dtype[Any],
    column: NDArray[Any],
    missing: NDArray[np.bool_],
) -> NDArray[Any]:
    whole = np.zeros(len(column), dtype=kind)
    whole[~missing] = column[~missing].astype(kind)
    if kind.itemsize == 8 and (np.abs(column[~missing]) >= _EXACT_IN_FLOAT).any():
        quoted = name.replace('"', '""')
        _, _, _, (exact,) = pyogrio.raw.read(
            readable(source.path),
            layer=source.layer or None,
            columns=[name],
            read_geometry=False,
            where=f'"{quoted}" IS NOT NULL',
        )
        whole[~missing] = exact
    return whole


def _as_json(column: NDArray[Any]) -> NDArray[Any]:
    texts = [
        None if value is None else json.dumps(np.asarray(value).tolist(), ensure_ascii=False)
        for value in column
    ]
    return np.array(texts, dtype=object)
