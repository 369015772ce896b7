"""Checks in a child process that an environment can run the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from .commands import CommandError, CommandRunner

MODULES = (
    "numpy", "scipy", "rasterio", "affine", "shapely", "pyogrio", "pyproj", "PIL", "torch",
    "torchvision", "timm", "open_clip", "transformers", "tokenizers", "safetensors",
    "huggingface_hub", "httpx2", "pydantic", "jinja2", "matplotlib", "portalocker",
    "hydra", "iopath", "sam2", "tqdm", "yaml",
)  # fmt: skip

# Incompatible binaries can be imported and fail in use, so each family of them computes something.
_SCRIPT = """
import importlib, json, sys
report = {"python": "%d.%d.%d" % sys.version_info[:3], "versions": {}, "problems": {}}
for name in json.loads(sys.argv[1]):
    try:
        module = importlib.import_module(name)
        report["versions"][name] = str(getattr(module, "__version__", ""))
    except BaseException as error:
        report["problems"][name] = "%s: %s" % (type(error).__name__, error)

def check(name, work):
    if name in report["versions"]:
        try:
            if not work():
                report["problems"][name] = "it computes wrong results"
        except BaseException as error:
            report["problems"][name] = "%s: %s" % (type(error).__name__, error)

def affine_works():
    from affine import Affine
    return tuple(Affine.translation(3.0, 4.0) @ (1.0, 2.0)) == (4.0, 6.0)

def torch_works():
    import torch
    left = torch.arange(6.0).reshape(2, 3)
    return (left @ left.T).tolist() == [[5.0, 14.0], [14.0, 50.0]]

def torchvision_works():
    import torch, torchvision
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0]])
    return torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9]), 0.5).tolist() == [1]

def rasterio_works():
    import numpy, rasterio
    from rasterio.io import MemoryFile
    from rasterio.transform import from_origin
    settings = dict(driver="GTiff", width=2, height=2, count=1, dtype="uint8", crs="EPSG:32632")
    with MemoryFile() as memory:
        with memory.open(transform=from_origin(10.0, 20.0, 1.0, 1.0), **settings) as target:
            target.write(numpy.full((1, 2, 2), 7, "uint8"))
        with memory.open() as source:
            return source.read().sum() == 28 and source.xy(0, 0) == (10.5, 19.5)

def pyproj_works():
    from pyproj import Geod
    return abs(Geod(ellps="WGS84").inv(0, 0, 0, 1)[2] - 110574.4) < 1.0

def device_computes():
    import torch
    found = report["device"] = {"name": "", "problem": ""}
    try:
        mps = getattr(getattr(torch.backends, "mps", None), "is_available", bool)()
        if not torch.cuda.is_available() and not mps:
            return True
        device = "mps" if mps else "cuda"
        found["name"] = "The Apple chip" if mps else torch.cuda.get_device_name(0)
        left = torch.arange(6.0, device=device).reshape(2, 3)
        if (left @ left.T).tolist() != [[5.0, 14.0], [14.0, 50.0]]:
            found["problem"] = "it computes wrong results"
    except BaseException as error:
        found["problem"] = " ".join(str(error).split())[:200] or type(error).__name__
    return True

check("affine", affine_works)
check("torch", torch_works)
check("torchvision", torchvision_works)
check("torch", device_computes)
check("rasterio", rasterio_works)
check("pyproj", pyproj_works)
print("GEOSEG-REPORT " + json.dumps(report))
"""


def verify_environment(python: Path, runner: CommandRunner) -> Dict[str, Any]:
    """Import every package in the child, compute with the compiled ones and return the versions.

    The first import after an installation may take minutes if an antivirus program scans it.

    Returns:
        ``python``, a version; ``versions`` by module; ``device`` with the name of the graphics
        card that computed, empty where PyTorch finds none, and the problem with it, if any.

    Raises:
        CommandError: With one line for each package that does not work.
    """
    command = [str(python), "-I", "-c", _SCRIPT, json.dumps(MODULES)]
    output = runner.run(command, timeout=900.0)
    lines = [line for line in output.splitlines() if line.startswith("GEOSEG-REPORT ")]
    if not lines:
        raise CommandError(command, None, output)
    report: Dict[str, Any] = json.loads(lines[-1].split(" ", 1)[1])
    problems = report.pop("problems")
    if problems:
        text = "\n".join(f"{name} does not work: {why}" for name, why in problems.items())
        raise CommandError(command, 1, text)
    return report
