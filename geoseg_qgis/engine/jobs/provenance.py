"""How a result was made: texts that every file of it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version

from geoseg_qgis.engine.models.preset import LoadedPreset
from geoseg_qgis.engine.raster.grid import Grid
from geoseg_qgis.protocol import PLUGIN_VERSION
from geoseg_qgis.protocol.job import Job
from geoseg_qgis.protocol.redaction import redact, redact_data


def describe_run(job: Job, models: LoadedPreset, network_grid: Grid) -> dict[str, str]:
    """Return the provenance of a run with a model.

    Args:
        job: The whole job is kept, so that it can be run again, without keys and passwords.
        models: The networks used.
        network_grid: Grid that networks read at scale 1.0.
    """
    size = network_grid.ground_pixel_size()
    return {
        **_common(job),
        "method": job.method,
        **models.provenance(),
        "network_pixel": "source pixels" if size is None else f"{max(size):.4g} m",
        "torch": version("torch"),
    }


def describe_arithmetic(job: Job, earlier: Mapping[str, str]) -> dict[str, str]:
    """Return the provenance of a run without a model, on top of that of its input."""
    kept = {f"scores_{key}": redact(value) for key, value in earlier.items()}
    names = {key: earlier[key] for key in ("method", "model") if key in earlier}
    return {**kept, **_common(job), **names}


def _common(job: Job) -> dict[str, str]:
    return {
        "software": f"GeoSeg for QGIS {PLUGIN_VERSION}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": redact(job.layers[0].name or job.layers[0].location),
        "job": json.dumps(redact_data(job.to_json()), ensure_ascii=False),
    }
