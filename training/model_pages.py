"""Model pages: `MODEL.md` of a preset folder, and the one that a run leaves behind.

A page has a head, the training data, and one section a component with weights, training, numbers
and limits. A section can be replaced without touching the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .datasets import SOURCES
from .exported_networks import Component
from .preset_folder import file_entry, packed, read_card_object, write_text
from .trainer import LOG_FILE, read_checkpoint

PAGE_FILE = "MODEL.md"
MEASURED = "Measured on unseen images"
NOT_MEASURED = "Not measured yet."
_PLACES = {"cpu": "the CPU", "cuda": "a graphics card"}
_NO_LOSSES = ("step", "seconds")


def training_line(checkpoint: Mapping[str, Any], crops: str = "crops") -> str:
    """Return how a run trained: its steps, minutes and the facts of its checkpoint.

    The facts `batch`, `device` (or "cpu and cuda"), `seed`, `started_from` (a run) and `generated`
    (weight of drawn scenes beside labelled images, whose weights sum to 1) are given where they are
    known.
    """
    facts = checkpoint["facts"]
    size = f" of {facts['batch']} {crops}" if "batch" in facts else ""
    devices = facts["device"].split(" and ") if "device" in facts else []
    place = " on " + " and ".join(_PLACES.get(one, one) for one in devices) if devices else ""
    start = "random values"
    if facts.get("started_from"):
        start = f"the weights of the run {Path(facts['started_from']).name}"
    parts = [f"{checkpoint['step']} steps{size} in {checkpoint['seconds'] / 60:.0f} minutes{place}"]
    parts += [f"seed {facts['seed']}"] if "seed" in facts else []
    parts.append(f"from {start}")
    if "generated" in facts:
        share = facts["generated"] / (1 + facts["generated"])
        parts.append(f"{share:.0%} of the images generated")
    return ", ".join(parts) + "."


def component_section(
    component: Component,
    weights: Mapping[str, Any],
    training: Sequence[str],
    numbers: Sequence[str],
    heading: str = MEASURED,
) -> str:
    """Return the section of one component.

    Args:
        component: Gives title and limits.
        weights: The card's entry of its file.
        training: How it was trained, a list item each.
        numbers: Lines of Markdown.
        heading: Heading of the numbers.
    """
    lines = [
        f"## {component.title}",
        "",
        f"- `{weights['file']}`: {weights['size']:,} bytes, `{weights['sha256']}`",
        *(f"- {line}" for line in training),
        "",
        f"### {heading}",
        "",
        *numbers,
        "",
        "### Limits",
        "",
        *(f"- {limit}" for limit in component.limits),
    ]
    return "\n".join(lines) + "\n"


def data_section(generated: bool = True) -> str:
    """Return the section of the training data with the attribution that the licences require."""
    lines = [
        "## Training data",
        "",
        "Images of the training split alone, with attribution and licences:",
        "",
        *(f"- {name}: {one.attribution} ({one.licence})" for name, one in SOURCES.items()),
    ]
    if generated:
        lines += ["", "Scenes drawn by this project's own generator complete them."]
    return "\n".join(lines) + "\n"


def with_section(text: str, section: str) -> str:
    """Return a page with a section in place of the one of the same heading, or at the end."""
    heading = section.partition("\n")[0]
    whole = section.rstrip() + "\n"
    found = _find(text, heading)
    if found is None:
        return f"{text.rstrip()}\n\n{whole}"
    rest = text[found.end() :]
    return text[: found.start()] + whole + ("\n" + rest if rest else "")


def put_section(folder: Path, section: str) -> None:
    """Put a component's section into the page of a preset folder, which has its card already."""
    path = folder / PAGE_FILE
    card = read_card_object(folder)
    text = f"# {card['title']}\n\n{card['description']}\n"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    for part in (data_section(), section):
        text = with_section(text, part)
    write_text(path, text)


def measured_lines(folder: Path, component: Component) -> list[str]:
    """Return the numbers that the page of a preset folder gives for a component."""
    path = folder / PAGE_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    section = _find(text, f"## {component.title}")
    numbers = _find(section[0], f"### {MEASURED}") if section else None
    return numbers[0].strip().splitlines()[2:] if numbers else [NOT_MEASURED]


def _find(text: str, heading: str) -> re.Match[str] | None:
    """Find a heading of two or three marks with all below it."""
    level = heading.partition(" ")[0]
    ends = rf"^#{{2,{len(level)}}} |\Z"
    return re.search(rf"^{re.escape(heading)}\n.*?(?={ends})", text, re.MULTILINE | re.DOTALL)


def write_run_page(
    run: Path,
    component: Component,
    *,
    validation: Mapping[str, float] | None = None,
) -> None:
    """Write the model page of a run that ended, into its folder.

    Args:
        run: Folder with checkpoint and log.
        component: The network that was trained.
        validation: Numbers by name, measured on validation images when the run ended.
    """
    checkpoint = read_checkpoint(run)
    content = packed(component.shipped(checkpoint), component.metadata)
    weights = file_entry(component.file, component.layout, content)
    training = [
        "An export of this run writes a file of this size and digest.",
        training_line(checkpoint, component.crops),
    ]
    heading, losses = _last_losses(run / LOG_FILE)
    if validation:
        losses += ["", "### Validation images, averaged weights", "", *_listed(validation)]
    section = component_section(component, weights, training, losses, heading)
    generated = component.generated and checkpoint["facts"].get("generated") != 0
    page = f"# {component.title}, run {run.resolve().name}\n\nWritten by the run when it ended.\n"
    for part in (data_section(generated), section):
        page = with_section(page, part)
    write_text(run / PAGE_FILE, page)


def _last_losses(log: Path) -> tuple[str, list[str]]:
    """Return the heading of the last losses, and their lines."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    entries = [entry for entry in map(json.loads, text.splitlines()) if "total" in entry]
    if not entries:
        return "Training losses", ["The run was too short for a line of its log."]
    last = entries[-1]
    losses = {name: value for name, value in last.items() if name not in _NO_LOSSES}
    return (
        f"Training losses, mean of at most 50 steps up to step {last['step']}",
        _listed(losses),
    )


def _listed(numbers: Mapping[str, float]) -> list[str]:
    return [f"- {name}: {value:.3f}" for name, value in numbers.items()]
