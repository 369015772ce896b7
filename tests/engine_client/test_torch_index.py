"""Real installations of stand-ins for PyTorch from an index on this computer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from package_server import PackageServer, make_wheel, torch_wheel

from geoseg_qgis.engine_client import install, setup_plan, verify
from geoseg_qgis.engine_client.child_process import clean_environment
from geoseg_qgis.engine_client.commands import CommandRunner
from geoseg_qgis.engine_client.install import install_engine
from geoseg_qgis.engine_client.locate import CRASH_MARKER, DATA_VARIABLE, read_stamp
from geoseg_qgis.engine_client.package_index import index_environment
from geoseg_qgis.engine_client.torch_index import INDEX_VARIABLE, RECEIPT, split_lock
from geoseg_qgis.engine_client.uv import find_or_fetch_uv
from geoseg_qgis.protocol.errors import JobError

pytestmark = pytest.mark.slow
VERSION = "2.15.0"
VISION = "0.29.2"
CARD = "NVIDIA RTX 4060"
NO_CARD = ""
OLD_DRIVER = "535.183"
NEW_DRIVER = "580.95"
VISION_SOURCE = (
    "class ops:\n    nms = staticmethod(lambda boxes, scores, limit: boxes)\n__version__ = '0'\n"
)


@dataclass
class Site:
    """A server, an account and the lock file of the tests."""

    server: PackageServer
    destination: Path
    texts: list[str] = field(default_factory=list)

    def set_up(self, driver: str = NO_CARD, **variables: str) -> list[str]:
        """Install, as on a computer with this driver, and return what was reported."""
        self.texts.clear()
        given = {"UV_CUDA_DRIVER_VERSION": driver, **variables}
        install_engine(
            self.destination, lambda _, text: self.texts.append(text), lambda: False, (), given
        )
        return self.texts

    def packages(self) -> set[str]:
        """Return what is installed, as name and version."""
        infos = self.destination.glob("lib/*/site-packages/*.dist-info")
        return {path.name.removesuffix(".dist-info") for path in infos}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """An index with three builds, and a lock file of the one with CUDA, as on Linux."""
    runner = CommandRunner(
        {**clean_environment(), **index_environment()}, tmp_path, tmp_path / "uv.log", lambda: False
    )
    uv = Path(find_or_fetch_uv(runner))
    server = PackageServer()
    server.start()
    for build, needs in (("cpu", ()), ("cu126", ("nvidia-blas-cu12==12.1",))):
        card = CARD if needs else ""
        wheel = torch_wheel(f"{VERSION}+{build}", f"{VERSION}+{build}", card, requires=needs)
        server.add(f"whl/{build}", "torch", f"{VERSION}+{build}", wheel)
        vision = make_wheel("torchvision", f"{VISION}+{build}", VISION_SOURCE)
        server.add(f"whl/{build}", "torchvision", f"{VISION}+{build}", vision)
    server.add("whl/cu126", "nvidia-blas-cu12", "12.1", make_wheel("nvidia-blas-cu12", "12.1", ""))
    locked = torch_wheel(VERSION, f"{VERSION}+cu132", CARD)
    vision = make_wheel("torchvision", VISION, VISION_SOURCE)
    lines = [
        server.add("simple", "affine-stand-in", "1.0", make_wheel("affine-stand-in", "1.0", "")),
        server.add("simple", "nvidia-blas", "13.1", make_wheel("nvidia-blas", "13.1", "")),
        server.add("simple", "torch", VERSION, locked),
        server.add("simple", "torchvision", VISION, vision),
    ]  # fmt: skip
    locks = tmp_path / "locks"
    locks.mkdir()
    (locks / "engine.txt").write_text("".join(lines), encoding="utf-8")
    (locks / "sources.txt").write_text("", encoding="utf-8")
    monkeypatch.setattr(install, "LOCKS", locks)
    monkeypatch.setattr(verify, "MODULES", ("torch", "affine_stand_in"))
    monkeypatch.setenv("PATH", f"{uv.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.address}/simple")
    monkeypatch.setenv(INDEX_VARIABLE, f"{server.address}/whl")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Site(server, tmp_path / "engine")
    server.stop()


def test_without_a_card_the_build_for_the_processor_is_taken(site: Site) -> None:
    texts = site.set_up()
    assert "No NVIDIA card was found, so PyTorch for the processor is chosen." in texts
    assert site.packages() == {
        f"torch-{VERSION}+cpu", f"torchvision-{VISION}+cpu", "affine_stand_in-1.0",
    }  # fmt: skip
    stamp = read_stamp(site.destination)
    assert stamp["torch"]["build"] == "cpu"
    assert stamp["device"] == {"name": "", "problem": ""}
    receipt = (site.destination / RECEIPT).read_text(encoding="utf-8")
    digests = [line for line in receipt.splitlines() if "--hash=sha256:" in line]
    assert len(digests) == 2
    assert receipt.startswith(f"# {site.server.address}/whl/cpu stated these digests on ")


def test_receipt_stays_in_force(site: Site) -> None:
    site.set_up()
    changed = torch_wheel(f"{VERSION}+cpu", "2.15.0+cpu", "Another card")
    site.server.add("whl/cpu", "torch", f"{VERSION}+cpu", changed)
    (site.destination / CRASH_MARKER).touch()
    with pytest.raises(JobError) as caught:
        site.set_up(UV_CACHE_DIR=str(site.destination.parent / "new cache"))
    assert caught.value.message == (
        "A downloaded package does not match its recorded hash, so it was not installed."
    )


@pytest.mark.parametrize("fault", ["unreachable", "no such build", "no digests"])
def test_lock_file_is_used_where_the_index_fails(site: Site, fault: str) -> None:
    variables, expected = {}, {}
    host = site.server.address.removeprefix("http://")
    if fault == "unreachable":
        variables[INDEX_VARIABLE], host = "http://127.0.0.1:9/whl", "127.0.0.1:9"
    elif fault == "no such build":
        del site.server.folders["whl/cpu"]
    else:
        site.server.with_digests = False
    expected = {
        "unreachable": "could not be reached",
        "no such build": "lacks the version of the lock file",
        "no digests": "states no digests",
    }
    texts = site.set_up(**variables)
    sentence = (
        f"The index of PyTorch at {host} {expected[fault]}, so the PyTorch of the lock file is "
        "installed."
    )
    assert any(text.endswith(sentence) for text in texts), texts
    assert f"torch-{VERSION}" in site.packages()
    assert read_stamp(site.destination)["torch"]["problem"] == sentence
    assert not (site.destination / RECEIPT).exists()


def test_processor_only_environment_becomes_one_for_the_card(site: Site) -> None:
    site.set_up()
    texts = site.set_up(OLD_DRIVER)
    assert "Replacing the PyTorch for the processor by the one for the NVIDIA card" in texts
    assert f"{CARD} computed a first result and is used." in texts
    assert site.packages() == {
        f"torch-{VERSION}+cu126", f"torchvision-{VISION}+cu126", "nvidia_blas_cu12-12.1",
        "affine_stand_in-1.0",
    }  # fmt: skip
    assert read_stamp(site.destination)["torch"]["build"] == "cu126"
    assert site.set_up(OLD_DRIVER) == ["Checking that every package works", "The engine is ready"]
    assert site.set_up(NO_CARD)[-1] == "The engine is ready"
    assert f"torch-{VERSION}+cu126" in site.packages()


def test_new_driver_takes_the_lock_file(site: Site) -> None:
    site.set_up()
    site.set_up(NEW_DRIVER, UV_TORCH_BACKEND="auto")
    assert f"torch-{VERSION}" in site.packages()
    assert "nvidia_blas-13.1" in site.packages()
    assert not any("cu132" in path for path in site.server.asked)


def test_engine_stays_on_the_processor_when_the_download_fails(site: Site) -> None:
    site.set_up()
    before = site.packages()
    site.server.withheld.add(f"torch-{VERSION}-py3-none-any.whl")
    texts = site.set_up(NEW_DRIVER)
    assert any(text.endswith("The engine still works on the processor.") for text in texts), texts
    assert site.packages() == before
    assert not (site.destination / CRASH_MARKER).exists()
    assert read_stamp(site.destination)["torch"]["build"] == "cpu"


def test_card_that_does_not_compute_is_told(site: Site) -> None:
    fault = "CUDA error: no kernel image\nat line 7"
    wheel = torch_wheel(VERSION, f"{VERSION}+cu132", CARD, fault)
    line = site.server.add("simple", "torch", VERSION, wheel)
    lock = install.LOCKS / "engine.txt"
    kept = split_lock(lock.read_text(encoding="utf-8"))[1]
    lock.write_text(kept + line, encoding="utf-8")
    texts = site.set_up(NEW_DRIVER)
    assert (
        f"{CARD} did not compute (CUDA error: no kernel image at line 7), so the engine uses the "
        "processor." in texts
    )
    assert setup_plan.installed_kind(read_stamp(site.destination)) == "cuda"


def test_password_of_an_index_is_written_nowhere(site: Site, tmp_path: Path) -> None:
    word = "q7Zx2mK9vT4b"
    address = site.server.address.replace("://", f"://jo:{word}@")
    site.set_up(**{INDEX_VARIABLE: f"{address}/whl"})
    assert read_stamp(site.destination)["torch"]["build"] == "cpu"
    receipt = (site.destination / RECEIPT).read_text(encoding="utf-8")
    assert receipt.startswith("# http://***@127.0.0.1")
    kept = [*site.destination.glob("*"), *(tmp_path / "data" / "logs").glob("*")]
    texts = [path.read_text(encoding="utf-8") for path in kept if path.is_file()]
    assert len(texts) > 4
    assert word not in "\n".join([*texts, *site.texts])
    (site.destination / CRASH_MARKER).touch()
    site.set_up(**{INDEX_VARIABLE: f"{address}/whl"})
    assert (site.destination / RECEIPT).read_text(encoding="utf-8") == receipt
