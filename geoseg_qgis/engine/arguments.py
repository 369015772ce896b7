"""The command line of every kind of job, made from the declared parameters."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from geoseg_qgis.protocol.errors import ErrorCode, JobError
from geoseg_qgis.protocol.job import Job, make_job, parameters_of
from geoseg_qgis.protocol.legend import LegendClass, parse_classes
from geoseg_qgis.protocol.parameters import Choice, Parameter, Role
from geoseg_qgis.protocol.registry import KINDS
from geoseg_qgis.protocol.source import Extent, LayerSource, RasterSource, VectorSource

_RASTERS = (".tif", ".tiff", ".vrt", ".img", ".jp2", ".png")


def add_job_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add one subcommand for each kind of job."""
    for kind in KINDS.values():
        parser = commands.add_parser(
            kind.name, help=kind.summary.rstrip("."), description=kind.summary
        )
        for item in parameters_of(kind.name):
            _add(parser, item)
        parser.add_argument(
            "--print-job", action="store_true", help="Print the job as JSON and do nothing."
        )


def job_from_arguments(options: argparse.Namespace) -> Job:
    """Return the job that parsed arguments describe.

    Raises:
        JobError: ``INVALID_JOB`` or ``INVALID_CLASSES`` for values that do not fit, ``INVALID_JOB``
            when nothing would be written.
    """
    kind = KINDS[options.command]
    parameters = parameters_of(kind.name)
    values = {}
    for item in parameters:
        given = getattr(options, _destination(item), None)
        if given not in (None, ""):
            values[item.path] = _value(item, given, getattr(options, _layer_name(item), ""))
    outputs = [item for item in parameters if item.is_output]
    if kind.needs_output and not any(item.path in values for item in outputs):
        *most, last = [item.option for item in outputs]
        flags = f"{', '.join(most)} or {last}" if most else last
        raise JobError(ErrorCode.INVALID_JOB, "The job would write nothing.", f"Give {flags}.")
    return make_job(kind.name, values)


def _add(parser: argparse.ArgumentParser, item: Parameter) -> None:
    facts: dict[str, Any] = {"help": _help(item)}
    is_option = item.option.startswith("-")
    is_list = item.item_type not in (None, LegendClass)
    words = [word for word in item.words if word not in item.only_in_dialogs]
    if is_option:
        facts |= {"dest": _destination(item), "required": not item.optional}
    if item.kind is bool:
        facts["action"] = argparse.BooleanOptionalAction if item.default else "store_true"
        facts["default"] = None
    elif item.kind is Extent:
        facts |= {"nargs": 4, "metavar": ("XMIN", "YMIN", "XMAX", "YMAX")}
    elif is_list:
        facts |= {"nargs": "+"} if is_option else {"nargs": "*", "metavar": "NAME", "default": None}
    elif item.is_choice:
        facts["metavar"] = f"{{{','.join(words)}}}"
    if not is_option and not is_list:
        facts["nargs"] = "?"
    parser.add_argument(item.option, **facts)
    if item.kind in (LayerSource, VectorSource):
        parser.add_argument(
            f"{item.option}-layer",
            default="",
            metavar="LAYER",
            help=f"Layer of the file of {item.label}, if it has several.",
        )


def _help(item: Parameter) -> str:
    words = item.full_help(without=item.only_in_dialogs)
    return " ".join(f"{item.title()}. {words} {_default(item)}".split()).replace("%", "%%")


def _default(item: Parameter) -> str:
    default = next(iter(item.choices), "") if item.path == ("method",) else item.default
    shown = default.value if isinstance(default, Choice) else default
    is_told = isinstance(shown, (str, float, int)) and shown != "" and not isinstance(shown, bool)
    return f"Default: {shown}." if is_told else ""


def _destination(item: Parameter) -> str:
    return item.option.lstrip("-").replace("-", "_")


def _layer_name(item: Parameter) -> str:
    return f"{_destination(item)}_layer"


def _value(item: Parameter, given: Any, layer: str) -> Any:
    """Return the JSON form of a value, or what cannot be one as it was written."""
    if item.kind in (RasterSource, VectorSource, LayerSource):
        return _source(item, given, layer)
    if item.item_type is LegendClass:
        return parse_classes(given)
    if item.item_type is not None:
        return _list(item, given)
    if item.kind is Extent:
        names = ("xmin", "ymin", "xmax", "ymax")
        return {name: _number(text) for name, text in zip(names, given, strict=True)}
    if item.is_output or item.role is Role.FOLDER:
        return str(Path(given).absolute())
    return _number(given) if item.kind in (int, float) else given


def _source(item: Parameter, path: str, layer: str) -> RasterSource | VectorSource:
    """Return a file as a raster or as a vector layer; its ending decides where both may be."""
    is_raster = path.lower().endswith(_RASTERS) and not layer
    # What GDAL reads otherwise, ``/vsizip/`` and URLs, stays as it is.
    place = str(Path(path).resolve()) if os.path.exists(path) else path  # noqa: PTH110
    if item.kind is RasterSource or (item.kind is not VectorSource and is_raster):
        return RasterSource(place, Path(path).stem)
    return VectorSource(place, layer, name=Path(path).stem)


def _list(item: Parameter, given: list[str]) -> list[Any]:
    if item.item_type is not str:
        return [_number(text) for text in given]
    if not item.option.startswith("-"):
        return given
    return [part.strip() for text in given for part in re.split("[,;]", text) if part.strip()]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
