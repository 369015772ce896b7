"""The options of the command line never change: a file lists them with their defaults."""

from __future__ import annotations

import argparse
import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from geoseg_qgis.engine.cli import build_parser
from geoseg_qgis.protocol.job import parameters_of
from geoseg_qgis.protocol.parameters import REQUIRED
from geoseg_qgis.protocol.registry import KINDS

COMMANDS: dict[str, dict[str, list[Any]]] = json.loads(
    (Path(__file__).parent / "command_line.json").read_text(encoding="utf-8")
)
"""Command to option to whether it is required, its number of words, and its default."""


def options_of(command: str) -> dict[str, argparse.Action]:
    parser = build_parser()
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    found = commands.choices[command]._actions
    return {" ".join(action.option_strings) or action.dest: action for action in found}


def default_of(command: str, option: str, action: argparse.Action) -> Any:
    """Return what a job gets when the option is left out."""
    if command not in KINDS:
        return action.default
    for item in parameters_of(command):
        if item.option in option.split():
            value = item.suggestion if item.path == ("method",) else item.default
            value = value.value if isinstance(value, Enum) else value
            value = list(value) if isinstance(value, tuple) else value
            return None if value is REQUIRED else value
    return action.default


@pytest.mark.parametrize("command", COMMANDS)
def test_options_stay(command: str) -> None:
    options = options_of(command)
    for option, (required, count, default) in COMMANDS[command].items():
        action = options[option]
        assert action.required == required, option
        assert action.nargs in (count, "+" if count is None else count), option
        found = default_of(command, option, action)
        assert found == default or not (found or default), option


def test_each_kind_of_job_has_its_command() -> None:
    assert set(KINDS) <= set(COMMANDS)
