"""Which PyTorch suits which driver, and what a set-up would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoseg_qgis.engine_client.locate import STAMP, environment_python, lock_hash
from geoseg_qgis.engine_client.nvidia import (
    VERSION_VARIABLE,
    NvidiaDriver,
    find_driver,
    parse_cards,
)
from geoseg_qgis.engine_client.setup_plan import plan_for, plan_setup
from geoseg_qgis.engine_client.torch_choice import Computer, choose_torch, locked_cuda

NEW = NvidiaDriver((580, 95, 5), "NVIDIA GeForce RTX 4060", (8, 9))
OLDER = NvidiaDriver((535, 183, 1), "NVIDIA T4", (7, 5))
PASCAL = NvidiaDriver((580, 95, 5), "NVIDIA GeForce GTX 1080", (6, 1))
ANCIENT = NvidiaDriver((390, 157), "GeForce GT 730", (3, 5))


@pytest.mark.parametrize(
    ("system", "driver", "kind", "builds"),
    [
        ("linux", None, "cpu", ("cpu",)),
        ("linux", NEW, "cuda", ()),
        ("linux", OLDER, "cuda", ("cu129", "cu128", "cu126", "cu118")),
        ("linux", PASCAL, "cuda", ("cu126", "cu118")),
        ("linux", ANCIENT, "cpu", ("cpu",)),
        ("win32", None, "cpu", ()),
        ("win32", NEW, "cuda", ("cu132", "cu130", "cu129", "cu128", "cu126", "cu118")),
        ("win32", NvidiaDriver((528, 2)), "cuda", ("cu118",)),
        ("win32", ANCIENT, "cpu", ()),
        ("darwin", None, "apple", ()),
    ],
)
def test_build_for_each_computer(
    system: str, driver: NvidiaDriver | None, kind: str, builds: tuple[str, ...]
) -> None:
    choice = choose_torch(Computer(system, "x86_64", driver), cuda_of_lock=13)
    assert (choice.kind, choice.builds) == (kind, builds)


@pytest.mark.parametrize(
    ("system", "wish", "kind", "builds"),
    [
        ("linux", "cpu", "cpu", ("cpu",)),
        ("linux", "cu126", "cuda", ("cu126",)),
        ("linux", "auto", "cuda", ()),
        ("win32", "cpu", "cpu", ()),
        ("win32", "CU128", "cuda", ("cu128",)),
    ],
)
def test_variable_of_uv_wins_over_the_driver(
    system: str, wish: str, kind: str, builds: tuple[str, ...]
) -> None:
    choice = choose_torch(Computer(system, "AMD64", NEW, wish), cuda_of_lock=13)
    assert (choice.kind, choice.builds) == (kind, builds)


def test_reasons_say_what_was_found() -> None:
    reasons = {
        driver: choose_torch(Computer("linux", "x86_64", driver), 13).reason
        for driver in (None, NEW, ANCIENT)
    }
    assert reasons == {
        None: "No NVIDIA card was found, so PyTorch for the processor is chosen.",
        NEW: "PyTorch for NVIDIA cards is chosen for the NVIDIA GeForce RTX 4060 with driver "
        "580.95.5.",
        ANCIENT: "PyTorch does not support the GeForce GT 730 with driver 390.157, so PyTorch for "
        "the processor is chosen; install driver 580 or newer and run the set-up again.",
    }


def test_linux_without_a_card_downloads_a_tenth() -> None:
    with_card = choose_torch(Computer("linux", "x86_64", NEW))
    without = choose_torch(Computer("linux", "x86_64"))
    assert without.download_bytes < 0.15 * with_card.download_bytes
    assert with_card.disk_bytes - without.disk_bytes > 4e9


def test_lock_file_names_its_cuda() -> None:
    assert locked_cuda() == 13


def test_oldest_of_several_cards_decides() -> None:
    answer = "580.95.05, 12.0, NVIDIA RTX 5090\n580.95.05, 7.5, NVIDIA T4\n"
    assert parse_cards(answer) == NvidiaDriver((580, 95, 5), "NVIDIA RTX 5090", (7, 5))
    assert parse_cards("NVIDIA-SMI has failed\n") is None
    assert parse_cards("470.1, [N/A], Tesla, K80\n") == NvidiaDriver((470, 1), "Tesla, K80")


def test_driver_from_the_tool_and_from_the_variable(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '591.12, 8.9, NVIDIA RTX 4060'\n", encoding="utf-8")
    tool.chmod(0o755)
    variables = {"PATH": str(tmp_path)}
    assert find_driver(variables) == NvidiaDriver((591, 12), "NVIDIA RTX 4060", (8, 9))
    variables[VERSION_VARIABLE] = "550.54"
    assert find_driver(variables) == NvidiaDriver((550, 54))
    variables[VERSION_VARIABLE] = ""
    assert find_driver(variables) is None


def environment(folder: Path, torch: str, lock: str) -> Path:
    python = environment_python(folder)
    python.parent.mkdir(parents=True)
    python.touch()
    stamp = {"lock": lock, "versions": {"torch": torch}}
    (folder / STAMP).write_text(json.dumps(stamp), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("torch", "lock", "driver", "action"),
    [
        ("2.15.0+cpu", "", NEW, "add-gpu"),
        ("2.15.0+cpu", "", None, "check"),
        ("2.15.0+cu132", "", NEW, "check"),
        ("2.15.0+cu132", "", None, "check"),
        ("2.15.0+cpu", "another", NEW, "update"),
    ],
)
def test_what_a_setup_would_do(
    tmp_path: Path, torch: str, lock: str, driver: NvidiaDriver | None, action: str
) -> None:
    folder = environment(tmp_path / "engine", torch, lock or lock_hash())
    plan = plan_for(Computer("linux", "x86_64", driver), folder)
    assert plan.action == action
    assert (plan.download_bytes == 0) == (action == "check")
    assert ("replaces its PyTorch" in plan.reason) == (action == "add-gpu")


def test_plan_of_a_new_environment(tmp_path: Path) -> None:
    plan = plan_setup(tmp_path / "engine", {VERSION_VARIABLE: "", "PATH": ""})
    assert plan.action == "install"
    assert plan.disk_bytes > plan.download_bytes > 1e8
    assert [package.split()[0] for package in plan.packages] == ["torch", "torchvision"]
