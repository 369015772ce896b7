"""The way of polygons from the engine's file into any sink: nothing half-written, nothing lost.

A file is written in a draft folder beside its place, read back, and moved there when it is whole;
what was there before stays until then. Polygons that no sink takes are kept in a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeatureSink,
    QgsField,
    QgsFields,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProperty,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QStandardPaths

from ..compat import text_field
from ..protocol.errors import CancelledError, ErrorCode, JobError
from ..translation import tr
from .values import Values

ROW_NUMBER = "fid"
_GEOMETRY_COLUMNS = ("geom", "geometry")
_FORMATS_WITHOUT_COLUMNS = (".shp", ".geojson", ".json", ".fgb")
_KIND = QgsWkbTypes.Type.MultiPolygon
_OGR = re.compile(r"""^ogr:dbname=(['"])(?P<path>.+?)\1""")
_DRAFT = re.compile(r"^\.geoseg-(\d+)-.*\.part$")
# Tables are named after their file, and those of GeoPackages themselves begin so.
_RESERVED_TABLES = "gpkg"
_TABLE = "polygons"
_TEMPORARY = ("", "TEMPORARY_OUTPUT", "memory:")
_DATABASE_SECONDS = 2.0


def copy_features(
    values: Values,
    name: str,
    path: Path,
    crs: QgsCoordinateReferenceSystem,
    feedback: QgsProcessingFeedback,
    *,
    fields: Optional[QgsFields] = None,
) -> Tuple[str, int]:
    """Copy the engine's polygons into the sink ``name``.

    Args:
        values: Those of the run.
        name: Parameter of the sink.
        path: GeoPackage of the engine.
        crs: CRS of the raster, which that of the file cannot always stand for.
        feedback: Asked for a cancel.
        fields: Fields of the sink, in the order of the file's own; None takes those as they are,
            but for names that the sink needs itself.

    Returns:
        The id or path of the sink, and the number of polygons.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` or ``CANCELLED``.
    """
    layer = QgsVectorLayer(str(path), "polygons", "ogr")
    keys = layer.primaryKeyAttributes()
    origins = [index for index in range(layer.fields().count()) if index not in keys]
    destination = values.destination(name)
    if fields is None:
        originals = [layer.fields().at(index) for index in origins]
        fields = _sink_fields(originals, _reserved(destination))
    try:
        with _prepared(values, name, feedback) as sink:
            sink.fill(layer, origins, fields, crs, feedback)
    except CancelledError:
        raise
    except (JobError, OSError) as error:
        reason = error.message if isinstance(error, JobError) else error.strerror or str(error)
        raise _kept(path, destination, reason) from error
    return sink.result, int(layer.featureCount())


class _Sink:
    """One sink of a run.

    Args:
        values: Those of the run.
        name: Parameter of the sink.
        destination: Where it is written, in place of what the parameter says.
        result: What the run returns for it; empty for what QGIS calls it.
    """

    def __init__(self, values: Values, name: str, destination: str, result: str = "") -> None:
        self._values = values
        self._name = name
        self._destination = destination
        self.result = result

    def fill(
        self,
        layer: QgsVectorLayer,
        origins: Sequence[int],
        fields: QgsFields,
        crs: QgsCoordinateReferenceSystem,
        feedback: QgsProcessingFeedback,
    ) -> None:
        """Write all polygons of ``layer`` and read the file back.

        Raises:
            JobError: ``OUTPUT_UNWRITABLE`` or ``CANCELLED``.
        """
        sink, written = self._create(fields, crs)
        for feature in layer.getFeatures():
            if feedback.isCanceled():
                raise CancelledError
            copy = QgsFeature(fields)
            copy.setAttributes([feature.attribute(index) for index in origins])
            geometry = feature.geometry()
            geometry.convertToMultiType()
            copy.setGeometry(geometry)
            if not sink.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
                raise _unwritable(sink.lastError())
        # The file is complete only once the sink is gone.
        del sink
        check_complete(written, int(layer.featureCount()))
        self._rename_layer(written)

    def _create(
        self, fields: QgsFields, crs: QgsCoordinateReferenceSystem
    ) -> Tuple[QgsFeatureSink, str]:
        values = self._values
        parameters = {**values.parameters, self._name: self._value()}
        try:
            sink, written = values.algorithm.parameterAsSink(
                parameters, self._name, values.context, fields, _KIND, crs
            )
        except QgsProcessingException as error:
            raise _unwritable(str(error)) from error
        if sink is None:
            raise _unwritable(tr("QGIS gives no reason"))
        return sink, str(written)

    def _value(self) -> Any:
        value = self._values.parameters.get(self._name)
        if not isinstance(value, QgsProcessingOutputLayerDefinition):
            return self._destination
        definition = QgsProcessingOutputLayerDefinition(value)
        definition.sink = QgsProperty.fromValue(self._destination)
        return definition

    def _rename_layer(self, written: str) -> None:
        """Have QGIS load the file under its final name."""
        if not self.result:
            self.result = written
        context = self._values.context
        layers = context.layersToLoadOnCompletion()
        if written != self.result and written in layers:
            layers[self.result] = layers.pop(written)
            context.setLayersToLoadOnCompletion(layers)


@contextlib.contextmanager
def _prepared(values: Values, name: str, feedback: QgsProcessingFeedback) -> Iterator[_Sink]:
    """Give the sink of a parameter; a file reaches its place when the block ends without error."""
    destination = values.destination(name)
    final = plain_file(destination)
    if final is None:
        yield _Sink(values, name, destination)
        return
    others = other_layers(final)
    if others:
        feedback.pushInfo(
            tr("{} holds other layers ({}), which are kept.").format(final.name, ", ".join(others))
        )
        table = f"ogr:dbname='{final}' table=\"{final.stem}\" (geom)"
        yield _Sink(values, name, table)
        return
    sweep_drafts(final.parent)
    folder = Path(
        tempfile.mkdtemp(prefix=f".geoseg-{os.getpid()}-", suffix=".part", dir=str(final.parent))
    )
    draft, result = str(folder / final.name), str(final)
    if final.suffix.lower() == ".gpkg" and final.stem.lower().startswith(_RESERVED_TABLES):
        draft = f"ogr:dbname='{draft}' table=\"{_TABLE}\" (geom)"
        result = f"{final}|layername={_TABLE}"
    try:
        yield _Sink(values, name, draft, result)
        # What opens the others comes last.
        for part in sorted(folder.iterdir(), key=lambda part: part.name == final.name):
            part.replace(final.parent / part.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_sink(values: Values, name: str) -> None:
    """Refuse a sink that cannot be made, before hours of work.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE`` with the reason of QGIS.
    """
    destination = values.destination(name)
    final = plain_file(destination)
    label = values.label(name)
    database = _OGR.match(destination)
    reason = ""
    if final is not None and not other_layers(final):
        reason = _format_problem(final.suffix)
    elif final is not None or database:
        reason = _lock_problem(final or Path(database["path"]) if database else final)
    if reason:
        raise JobError(
            ErrorCode.OUTPUT_UNWRITABLE,
            tr("{} cannot be written to {}: {}").format(label, destination, reason),
            tr("Choose another file or format, or close the program that holds this one."),
        )


def _format_problem(suffix: str) -> str:
    """Return why no polygons can be written in the format of a suffix; empty when they can."""
    driver = QgsVectorFileWriter.driverForExtension(suffix.lstrip("."))
    if not driver:
        return tr("no format for vector layers has the suffix {!r}").format(suffix)
    fields = QgsFields()
    fields.append(text_field("class"))
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = driver
    with tempfile.TemporaryDirectory(prefix="geoseg-") as folder:
        writer = QgsVectorFileWriter.create(
            str(Path(folder) / f"probe{suffix}"),
            fields,
            _KIND,
            QgsCoordinateReferenceSystem("EPSG:4326"),
            QgsCoordinateTransformContext(),
            options,
        )
        probe = QgsFeature(fields)
        probe.setAttributes(["probe"])
        written = writer.addFeature(probe, QgsFeatureSink.Flag.FastInsert)
        problem = str(writer.errorMessage())
        del writer
    return problem if problem or written else tr("the format takes no polygons with fields")


def _lock_problem(path: Optional[Path]) -> str:
    """Return why a GeoPackage that is there cannot be changed; empty when it can."""
    if path is None or not path.is_file():
        return ""
    try:
        with contextlib.closing(
            sqlite3.connect(str(path), timeout=_DATABASE_SECONDS)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        return str(error)
    return ""


def _opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(str(path), timeout=_DATABASE_SECONDS))


def plain_file(destination: str) -> Optional[Path]:
    """Return the file of a destination, or None for temporary, memory and database outputs."""
    if destination in _TEMPORARY or re.match(r"^[a-zA-Z]{2,}:", destination):
        return None
    return Path(destination).absolute()


def other_layers(path: Path) -> List[str]:
    """Return the tables of a GeoPackage that is there, but for the one with its name."""
    if path.suffix.lower() != ".gpkg" or not path.is_file():
        return []
    query = "SELECT table_name FROM gpkg_contents WHERE data_type IN ('features', 'tiles')"
    try:
        with contextlib.closing(
            sqlite3.connect(str(path), timeout=_DATABASE_SECONDS)
        ) as connection:
            tables = [str(row[0]) for row in connection.execute(query)]
    except sqlite3.Error:
        return []
    return [table for table in tables if table.lower() != path.stem.lower()]


def sweep_drafts(folder: Path) -> None:
    """Delete the draft folders that programs left behind when they died."""
    for draft in folder.glob(".geoseg-*.part"):
        owner = _DRAFT.match(draft.name)
        if owner and not _is_alive(int(owner[1])):
            shutil.rmtree(draft, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        # Windows refuses to delete what a living process has open.
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def check_complete(written: str, count: int) -> None:
    """Read a file back: a full disk is noticed by nobody else.

    Raises:
        JobError: ``OUTPUT_UNWRITABLE``.
    """
    path = Path(written.split("|", maxsplit=1)[0])
    if not path.is_file():
        return
    layer = QgsVectorLayer(written, "written", "ogr")
    found = sum(1 for _ in layer.getFeatures()) if layer.isValid() else 0
    if found != count:
        raise _unwritable(
            tr("{} of {} polygons can be read back; the disk may be full").format(found, count)
        )


def _unwritable(reason: str) -> JobError:
    return JobError(ErrorCode.OUTPUT_UNWRITABLE, reason, "")


def _kept(path: Path, destination: str, reason: str) -> JobError:
    """Keep the polygons that no sink takes, and return what to tell."""
    final, database = plain_file(destination), _OGR.match(destination)
    documents = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
    named = final or (Path(database["path"]) if database else Path(documents) / "polygons.gpkg")
    kept = named.with_name(f"{named.stem}_kept.gpkg")
    number = 1
    while kept.exists():
        number += 1
        kept = named.with_name(f"{named.stem}_kept_{number}.gpkg")
    try:
        shutil.copyfile(path, kept)
    except OSError:
        with contextlib.suppress(OSError):
            kept.unlink()
        hint = tr("Make room on the disk, or choose another file, and run again.")
    else:
        hint = tr("The polygons are kept in {}: save them from there.").format(kept)
    message = tr("The polygons cannot be written to {}: {}.")
    reason = reason.strip().rstrip(".")
    return JobError(ErrorCode.OUTPUT_UNWRITABLE, message.format(destination, reason), hint)


def _reserved(destination: str) -> Tuple[str, ...]:
    """Return the names of columns that a sink needs itself, in lower case."""
    final = plain_file(destination)
    if final is not None and final.suffix.lower() in _FORMATS_WITHOUT_COLUMNS:
        return (ROW_NUMBER,)
    return (ROW_NUMBER, *_GEOMETRY_COLUMNS)


def _sink_fields(originals: Sequence[QgsField], reserved: Sequence[str]) -> QgsFields:
    """Return copies of fields whose names differ in more than letter case; none is reserved."""
    fields = QgsFields()
    own = {field.name().lower() for field in originals}
    taken = set(reserved)
    for original in originals:
        field = QgsField(original)
        number = 0
        while field.name().lower() in taken or (number and field.name().lower() in own):
            number += 1
            field.setName(f"{original.name()}_{number}")
        taken.add(field.name().lower())
        fields.append(field)
    return fields
