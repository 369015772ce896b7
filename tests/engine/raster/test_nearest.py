"""Whole numbers on other grids, and the names that files give to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg_qgis.engine.raster.class_names import read_class_names
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.engine.raster.nearest import open_nearest
from geoseg_qgis.engine.raster.region_raster import read_region_raster
from geoseg_qgis.engine.raster.write import ClassRasterWriter
from geoseg_qgis.protocol.errors import JobError
from geoseg_qgis.protocol.legend import parse_classes
from geoseg_qgis.protocol.source import RasterSource

PLACE = Affine(2.0, 0.0, 500000.0, 0.0, -2.0, 5600000.0)
UTM = rasterio.CRS.from_epsg(32632)
GRID = Grid(PLACE, 4, 4, UTM.to_wkt())
WHOLE = Window(0, 0, 4, 4)
VALUES = np.arange(16, dtype=np.int16).reshape(4, 4)


def write(
    path: Path,
    values: NDArray[Any],
    nodata: float | None = None,
    crs: rasterio.CRS | None = UTM,
) -> RasterSource:
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=4, count=1, dtype=values.dtype.name,
        transform=PLACE, crs=crs, nodata=nodata,
    ) as dataset:  # fmt: skip
        dataset.write(values, 1)
    return RasterSource(str(path), path.stem)


def test_values_on_a_grid_that_reaches_further(tmp_path: Path) -> None:
    grid = Grid(PLACE @ Affine.translation(2, 1) @ Affine.scale(0.5), 8, 8, UTM.to_wkt())
    with open_nearest(write(tmp_path / "a.tif", VALUES, nodata=0), grid) as raster:
        values, inside = raster.read(Window(0, 0, 8, 8))
    assert raster.nodata == (0,)
    assert np.array_equal(values[:6, :4], np.repeat(np.repeat(VALUES[1:, 2:], 2, 0), 2, 1))
    assert inside[:6, :4].all()
    assert inside.sum() == 24


def test_nodata_is_a_value_like_any_other(tmp_path: Path) -> None:
    with open_nearest(write(tmp_path / "a.tif", VALUES, nodata=0), GRID) as raster:
        values, inside = raster.read(WHOLE)
    assert np.array_equal(values, VALUES)
    assert inside.all()


def test_raster_without_crs_takes_that_of_the_grid(tmp_path: Path) -> None:
    with open_nearest(write(tmp_path / "a.tif", VALUES, crs=None), GRID) as raster:
        assert np.array_equal(raster.read(WHOLE)[0], VALUES)


def test_fractions_are_refused_and_nan_is_outside(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32)
    values[0, 0] = np.nan
    with open_nearest(write(tmp_path / "a.tif", values), GRID) as raster:
        _, inside = raster.read(WHOLE)
    assert not inside[0, 0]
    assert inside.sum() == 15
    values[1, 1] = 0.25
    with (
        open_nearest(write(tmp_path / "b.tif", values), GRID) as raster,
        pytest.raises(JobError, match="holds fractions"),
    ):
        raster.read(WHOLE)


def test_band_that_does_not_exist(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif", VALUES)
    with (
        pytest.raises(JobError, match="has no band 3"),
        open_nearest(RasterSource(source.uri, bands=(3,)), GRID),
    ):
        pass


def test_regions_count_from_1_and_nodata_is_none(tmp_path: Path) -> None:
    values = np.array([[0, 7, 7, 5], [9, 9, 7, 5], [0, 0, 3, 3], [0, 0, 3, 3]], np.int16)
    windows = [Window(0, 0, 4, 2), Window(0, 2, 4, 2)]
    source = write(tmp_path / "a.tif", values, nodata=9)
    parts = [ids for _, ids in read_region_raster(source, GRID, windows)]
    assert np.concatenate(parts).tolist() == [
        [0, 2, 2, 1], [0, 0, 2, 1], [0, 0, 3, 3], [0, 0, 3, 3],
    ]  # fmt: skip


def test_names_of_geoseg(tmp_path: Path) -> None:
    legend = parse_classes("building, roof; road")
    with ClassRasterWriter(tmp_path / "a.tif", GRID, legend, {}) as writer:
        writer.write(WHOLE, np.ones((4, 4), np.uint8))
    assert read_class_names(str(tmp_path / "a.tif")) == {1: ("building", "roof"), 2: ("road",)}


def test_category_names_beside_the_file(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif", VALUES)
    Path(f"{source.uri}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category></Category>'
        "<Category>road &amp; rail</Category><Category>2</Category><Category>wood</Category>"
        "</CategoryNames></PAMRasterBand></PAMDataset>",
        encoding="utf-8",
    )
    assert read_class_names(source.uri) == {1: ("road & rail",), 3: ("wood",)}


def test_attribute_table_beside_the_file(tmp_path: Path) -> None:
    source = write(tmp_path / "a.tif", VALUES)
    Path(f"{source.uri}.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">'
        '<FieldDefn index="0"><Name>OID</Name><Type typeAsString="Integer">0</Type>'
        '<Usage usageAsString="Generic">0</Usage></FieldDefn>'
        '<FieldDefn index="1"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>'
        '<FieldDefn index="2"><Name>Class_Name</Name><Type>2</Type><Usage>0</Usage></FieldDefn>'
        '<Row index="0"><F>0</F><F>11</F><F>Open Water</F></Row>'
        '<Row index="1"><F>1</F><F>21.0</F><F/></Row>'
        '<Row index="2"><F>2</F><F>41</F><F>Forest</F></Row>'
        "</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>",
        encoding="utf-8",
    )
    assert read_class_names(source.uri) == {11: ("Open Water",), 41: ("Forest",)}


def test_no_names_at_all(tmp_path: Path) -> None:
    assert read_class_names(write(tmp_path / "a.tif", VALUES).uri) == {}
