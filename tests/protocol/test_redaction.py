"""Keys, passwords and tokens in texts that are kept."""

from __future__ import annotations

import json

import pytest

from geoseg_qgis.protocol.redaction import HIDDEN, redact, redact_data

WORD = "Zm9vYmFy0123456789"

WITH_SECRETS = [
    "https://tiles.example/wmts?api_key={0}&layer=a",
    "https://tiles.example/wmts?layer=a&APIKEY={0}",
    "https://tiles.example/{{z}}/{{x}}/{{y}}.png?access_token={0}",
    "https://tiles.example/?map_key={0}",
    "https://blob.example/ortho.tif?sv=2024&sig={0}%3D&se=2026",
    "https://s3.example/a.tif?X-Amz-Credential={0}/2026&X-Amz-Signature={0}&X-Amz-Date=2026",
    "https://s3.example/a.tif?AWSAccessKeyId={0}&Signature={0}&Expires=1",
    "https://jo:{0}@files.example/a.tif",
    "https://{0}@files.example/a.tif",
    "/vsicurl/https://files.example/a.tif?token={0}",
    "/vsicurl?header.Authorization=Bearer%20{0}&url=https%3A%2F%2Ffiles.example%2Fa.tif",
    "/vsicurl?url=https%3A%2F%2Ffiles.example%2Fa.tif%3Fapi_key%3D{0}%26x%3D1",
    "/vsicurl?url=https%3A%2F%2Fjo%3A{0}%40files.example%2Fa.tif",
    "type=xyz&url=https://t.example/%7Bz%7D?key%3D{0}%26x%3D1&zmax=19",
    "type=xyz&authcfg={0}&url=https://t.example/",
    "contextualWMSLegend=0&http-header:authorization=Bearer {0}&url=https://t.example",
    "dbname='gis' host=db.example user='jo' password='{0}' table=\"a\".\"b\"",
    "PG:dbname=gis password={0} host=db.example",
    "<GDAL_WMS><UserPwd>jo:{0}</UserPwd></GDAL_WMS>",
    "Authorization: Bearer {0}",
    "the server refused Bearer {0}",
    "Cookie: session={0}; other=1",
    "x-api-key: {0}",
    '{{"uri": "https://t.example?token={0}"}}',
    '{{"access_token": "{0}", "name": "a"}}',
    "proxy http://jo:{0}@proxy.example:3128 refused the connection",
    "hf_{0}",
]
WITHOUT = [
    "/data/key=5/ortho.tif",
    "C:\\data\\token\\ortho.tif",
    "The raster a.tif has no band 4. Choose another band.",
    "building, roof; road; keyboard=#ff0000",
    "https://tiles.example/wmts?layer=a&style=b&tilematrixset=GoogleMapsCompatible",
    "GPKG:/data/a.gpkg:table",
    "What the key means: water; land",
    "tokens: 77",
    "2026-12-01T17:00:00+00:00",
]


@pytest.mark.parametrize("text", WITH_SECRETS)
def test_secrets_are_hidden(text: str) -> None:
    hidden = redact(text.format(WORD))
    assert WORD not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize("text", WITHOUT)
def test_other_texts_stay(text: str) -> None:
    assert redact(text) == text


def test_what_is_not_secret_in_an_address_stays() -> None:
    address = f"https://jo:{WORD}@tiles.example/wmts?layer=a&api_key={WORD}&style=b"
    assert redact(address) == "https://***@tiles.example/wmts?layer=a&api_key=***&style=b"
    assert redact(redact(address)) == redact(address)


def test_data_is_redacted_at_any_depth_and_stays_json() -> None:
    data = {
        "layers": [{"uri": f"https://t.example?token={WORD}"}],
        "HF_TOKEN": WORD,
        "number": 1.5,
        "nothing": None,
    }
    hidden = redact_data(data)
    assert hidden == {
        "layers": [{"uri": "https://t.example?token=***"}],
        "HF_TOKEN": HIDDEN,
        "number": 1.5,
        "nothing": None,
    }
    text = redact(json.dumps(data))
    assert WORD not in text
    assert json.loads(text)["layers"] == hidden["layers"]
    nested = redact(json.dumps({"job": json.dumps(data)}))
    assert WORD not in nested
    assert json.loads(json.loads(nested)["job"])["number"] == 1.5
