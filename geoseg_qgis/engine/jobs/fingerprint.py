"""The fingerprint of a job: everything that its tiles depend on, and nothing else.

The names of the results do not count. Rasters count by the names, sizes and times of their files,
vector layers by their contents, as QGIS writes them to another file each time, models by their card
and the sizes and times of their weights. The code counts as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError

import geoseg_qgis.engine
from geoseg_qgis.engine.models.device import choose_device
from geoseg_qgis.engine.raster.datasets import open_dataset
from geoseg_qgis.engine.vector.paths import readable
from geoseg_qgis.engine.zoo.card import CARD_FILE
from geoseg_qgis.engine.zoo.registry import choose_preset
from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.codec import to_json
from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.methods import read_methods
from geoseg_qgis.protocol.parameters import declared
from geoseg_qgis.protocol.source import LayerSource, RasterSource, VectorSource

_CODE = Path(geoseg_qgis.engine.__file__).parent
_UNREADABLE = (DataSourceError, DataLayerError, FeatureError, GeometryError, OSError, ValueError)
_ARCHIVES = ("/vsizip/", "/vsitar/", "/vsigzip/", "/vsi7z/", "/vsirar/")


class _UnknownContentError(Exception):
    """What a job reads may change without a trace, for example on a server."""


def fingerprint(job: Job) -> str:
    """Return the fingerprint of a job, hexadecimal; empty when what it reads has none."""
    try:
        facts = _facts(job)
    except (_UnknownContentError, JobError, *_UNREADABLE):
        # What is wrong with an input is said where it is read.
        return ""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _facts(job: Job) -> dict[str, Any]:
    outputs = {item.path[-1] for item in declared(type(job.task)) if item.is_output}
    members = {item.name: getattr(job.task, item.name) for item in dataclasses.fields(job.task)}
    task = {name: _described(value) for name, value in members.items() if name not in outputs}
    preset = choose_preset(job.model, job.method)
    weights = (
        preset.path(each.file)
        for name in preset.card.components
        for each in preset.card.weights_of(name)
    )
    return {
        "kind": job.kind,
        "task": task,
        "source": _described(job.source),
        "grid": to_json(job.grid),
        "method": job.method,
        "card": [preset.card.name, preset.card.revision],
        "files": _stamps([preset.path(CARD_FILE), *weights]),
        "devices": [str(each.device) for each in choose_device(job.device).all],
        "versions": [PLUGIN_VERSION, version("torch"), version("numpy"), version("rasterio")],
        "code": _stamps(sorted({*_code_files(), *_method_files(job.method)})),
    }


def _described(value: Any) -> Any:
    if isinstance(value, RasterSource):
        return {**to_json(value), "files": _stamps(_files_of(value))}
    if isinstance(value, VectorSource):
        return {"crs": value.crs_wkt, "content": _content_of(value)}
    return to_json(value)


def _code_files() -> Iterator[Path]:
    """Yield the files of the engine, with the cards of published models."""
    for suffix in ("*.py", "*.json"):
        yield from _CODE.rglob(suffix)


def _method_files(method: str) -> Iterator[Path]:
    """Yield the files of a method of the user's, with what it may import."""
    for card in read_methods("open_vocabulary").cards:
        if card.name == method and not card.path.is_relative_to(_CODE):
            yield from card.path.parent.rglob("*.py")


def _files_of(source: LayerSource) -> list[Path]:
    with contextlib.closing(open_dataset(source)) as opened:  # type: ignore[arg-type]
        names = opened.file.files
    if not names:
        raise _UnknownContentError
    return [_local(name) for name in names]


def _local(name: str) -> Path:
    """Return the file on a disk that holds a file of GDAL's, for example an archive."""
    for prefix in _ARCHIVES:
        name = name.removeprefix(prefix)
    path = Path(name.strip("{}"))
    for place in (path, *path.parents):
        if place.is_file():
            return place
    raise _UnknownContentError


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    stamps = []
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            stamps.append((str(path), 0, 0))
        else:
            stamps.append((str(path), facts.st_size, facts.st_mtime_ns))
    return stamps


def _content_of(source: VectorSource) -> str:
    meta, _, geometries, fields = pyogrio.raw.read(
        readable(source.path), layer=source.layer or None
    )
    digest = hashlib.sha256(
        repr((meta["crs"], list(meta["fields"]), meta["geometry_type"])).encode()
    )
    for column in (geometries, *fields):
        if column is not None:
            digest.update(_bytes_of(np.asarray(column)))
    return digest.hexdigest()


def _bytes_of(column: np.ndarray[Any, Any]) -> bytes:
    if column.dtype.kind != "O":
        return column.tobytes()
    return b"\0".join(
        value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        for value in column.tolist()
    )
