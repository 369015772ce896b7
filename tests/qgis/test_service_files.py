"""Map services that are given as files of GDAL, and large files that are none."""

from __future__ import annotations

import processing
import pytest
from engine_runs import needs_engine
from osgeo import gdal, osr
from qgis.core import QgsFeature, QgsGeometry, QgsRasterLayer, QgsVectorLayer
from qgis_layers import tile_extent

from geoseg_qgis.layers.source import freeze_raster

SERVICE = """<GDAL_WMS>
 <Service name="TMS"><ServerUrl>http://127.0.0.1:{port}/{path}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
 <DataWindow><UpperLeftX>-20037508.34</UpperLeftX><UpperLeftY>20037508.34</UpperLeftY>
  <LowerRightX>20037508.34</LowerRightX><LowerRightY>-20037508.34</LowerRightY>
  <TileLevel>20</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>
  <YOrigin>top</YOrigin></DataWindow>
 <Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>
 <BandsCount>3</BandsCount>
</GDAL_WMS>"""


@pytest.fixture
def service(qgis_new_project, tile_server, tmp_path):
    """The layer of a service file; tiles are noisy squares."""
    tile_server.color = lambda _zoom, column, row: (column * 37 % 200, row * 53 % 200, 90)
    path = tmp_path / "service.xml"
    path.write_text(SERVICE.format(port=tile_server.server_port, path=id(tile_server)))
    return QgsRasterLayer(str(path), "service", "gdal")


def test_a_service_file_is_vast(service) -> None:
    assert service.isValid()
    frozen = freeze_raster(service)
    assert frozen.columns == 2**28
    assert not frozen.needs_snapshot
    assert frozen.is_vast


def test_a_large_file_is_not_vast(qgis_new_project, tmp_path) -> None:
    options = ["SPARSE_OK=YES", "TILED=YES", "BIGTIFF=YES"]
    path = str(tmp_path / "large.tif")
    dataset = gdal.GetDriverByName("GTiff").Create(path, 60_000, 60_000, 1, options=options)
    dataset.SetGeoTransform((500000.0, 0.1, 0.0, 5600000.0, 0.0, -0.1))
    reference = osr.SpatialReference()
    reference.ImportFromEPSG(32632)
    dataset.SetProjection(reference.ExportToWkt())
    del dataset
    frozen = freeze_raster(QgsRasterLayer(path, "large"))
    assert frozen.columns == 60_000
    assert not frozen.is_vast


class TestRuns:
    pytestmark = needs_engine

    @pytest.mark.usefixtures("provider")
    def test_clicks_on_a_service_file_need_no_extent(self, service, tmp_path) -> None:
        corner = tile_extent(20, 560_000, 360_000, 1)
        points = QgsVectorLayer("Point?crs=EPSG:3857", "clicks", "memory")
        for east in (4, 12, 20):
            feature = QgsFeature()
            place = f"POINT({corner.xMinimum() + east} {corner.yMaximum() - 9})"
            feature.setGeometry(QgsGeometry.fromWkt(place))
            points.dataProvider().addFeature(feature)
        outputs = {"POLYGONS": str(tmp_path / "o.gpkg"), "OUTPUT": str(tmp_path / "o.tif")}
        results = processing.run("geoseg:prompts", {"INPUT": service, "PROMPTS": points, **outputs})
        dataset = gdal.Open(results["OUTPUT"])
        # The surroundings of the clicks, in pixels of zoom 20, not the 2 ** 28 of the world.
        assert dataset.GetGeoTransform()[1] == pytest.approx(40075016.68 / 2**28)
        assert 600 < dataset.RasterXSize < 4000
        assert results["OBJECT_COUNT"] + results["MISSING_COUNT"] == 3
