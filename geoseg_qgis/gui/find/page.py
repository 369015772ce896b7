"""The page that finds what the user writes, previewed in the view and run on an area."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import processing
from qgis.core import QgsApplication, QgsProcessingContext
from qgis.PyQt.QtCore import QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...processing.settings import Settings
from ...protocol.legend import LegendClass, format_classes
from ...translation import duration, tr
from ..context import SELECTED_POLYGON, VISIBLE_AREA, WHOLE_LAYER, DockContext
from ..engine_state import EngineState
from ..jobs.records import process_command
from ..jobs.runner import TEMPORARY, JobRunner
from .chips import ClassRows
from .meaning import Kind, Meaning, thresholds_text, understand
from .preview import Preview, preview_area, smallest_area
from .text_box import UNKNOWN, TextBox
from .vocabulary import ModelCard, read_card

_TYPING_MS = 150
_SLIDER_MS = 15
_COLOR = "#ffb000"
_HALF = 0.5
EXAMPLE = "building, roof, house; road; tree, forest; water"
OPEN_VOCABULARY, REFER, RECLASSIFY = "geoseg:openvocabulary", "geoseg:refer", "geoseg:reclassify"


class FindPage(QWidget):
    """The page.

    Args:
        context: Imagery, model and area.
        runner: Runs the algorithms.
        state: Knows which methods a model serves.

    Attributes:
        started: Sent with the number of a run on the chosen area.
    """

    started = pyqtSignal(int)

    def __init__(
        self,
        context: DockContext,
        runner: JobRunner,
        state: EngineState,
        parent: Optional[QWidget] = None,
    ) -> None:
        super().__init__(parent)
        self._context = context
        self._runner = runner
        self._state = state
        self._card = ModelCard("")
        self._meaning = Meaning(Kind.NOTHING)
        self.preview = Preview(context, runner, self)
        self.preview.progressed.connect(self._show_progress)
        self.preview.ended.connect(self._preview_ended)
        self._typing = _timer(self, _TYPING_MS, self._understand)
        self._sliding = _timer(self, _SLIDER_MS, self._show_preview)
        self._build()
        context.image_changed.connect(self._image_changed)
        context.area_changed.connect(self._show_run)
        context.model_changed.connect(self._read_card)
        self._read_card()

    def focus_text(self) -> None:
        """Let the user type."""
        self.text.setFocus()

    def ask(self, text: str) -> None:
        """Write ``text`` and preview it."""
        self.text.setPlainText(text)
        self.start_preview()

    def start_preview(self) -> None:
        """Preview what is written in the visible area, or stop a preview that is being made."""
        if self.preview.running:
            self.preview.cancel()
            self._preview_ended(tr("The preview was cancelled."))
            return
        self._understand()
        problem = self._problem()
        area = preview_area(self._context, self._card)
        if not problem and area is None:
            problem = tr("Nothing of the imagery is visible. Zoom to the layer.")
        if problem or area is None:
            self._say(problem, warns=True)
            return
        self.bar.setValue(0)
        self.bar.setVisible(True)
        self.preview_button.setText(tr("Cancel"))
        self._say(tr("Looking at {:,.0f} m x {:,.0f} m …").format(*area.metres))
        self.preview.start(*self._algorithm(), self._meaning, area)

    def start_run(self) -> None:
        """Run what is written on the chosen area, with the thresholds that are shown."""
        self._understand()
        problem = self._problem()
        if not problem and self._context.area_kind() != WHOLE_LAYER and not self._context.area():
            problem = tr("Nothing of the imagery is visible or selected there.")
        steps = self.steps() if not problem else []
        problem = problem or self._runner.check(*steps[0])
        if problem:
            self._say(problem, warns=True)
            return
        self.preview.cancel()
        title = f"{self._image_name()} - {self._short_text()}"
        number = self._runner.start(
            *steps[0],
            title,
            ended=lambda fine, results: self._next(fine, results, steps[1:], title),
        )
        self._say(tr("The run is in the list of jobs."))
        self.preview.clear()
        self.started.emit(number)

    def steps(self) -> List[Tuple[str, Dict[str, Any]]]:
        """Return the algorithms of a run with their parameters, in order.

        Scores are always kept. Thresholds above 0 are applied to them by a second step, so that
        the result is what the preview showed.
        """
        algorithm, values = self._algorithm()
        extent = self._context.area()
        if extent is not None:
            values["EXTENT"] = extent
        values.update(OUTPUT=TEMPORARY, POLYGONS=TEMPORARY, SCORES=TEMPORARY)
        smallest = smallest_area(self._context, self._card, self._meaning.kind)
        if smallest is not None:
            values["MINIMUM_AREA"] = smallest
        if self._meaning.kind is not Kind.CLASSES:
            values["THRESHOLD"] = self.rows.thresholds()[0]
            return [(algorithm, values)]
        thresholds = dict(zip(self._names(), self.rows.thresholds()))
        if not any(thresholds.values()):
            return [(algorithm, values)]
        del values["OUTPUT"], values["POLYGONS"]
        text = thresholds_text(thresholds, self._names())
        second: Dict[str, Any] = {
            "SCORES": "",
            "THRESHOLDS": text,
            "OUTPUT": TEMPORARY,
            "POLYGONS": TEMPORARY,
        }
        if smallest is not None:
            del values["MINIMUM_AREA"]
            second["MINIMUM_AREA"] = smallest
        return [(algorithm, values), (RECLASSIFY, second)]

    def close_page(self) -> None:
        """Stop the preview and take it off the map."""
        self.preview.close()

    def _build(self) -> None:
        self.text = TextBox()
        self.text.textChanged.connect(self._typing.start)
        self.text.entered.connect(self.start_preview)
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        self.rows = ClassRows()
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addWidget(self.rows)
        rows.addStretch()
        self.rows.changed.connect(self._sliding.start)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self.preview_button = QPushButton(tr("Preview"))
        self.preview_button.setToolTip(tr("Look at the visible area (Enter)"))
        self.preview_button.clicked.connect(self.start_preview)
        self.clear_button = QToolButton()
        self.clear_button.setIcon(QgsApplication.getThemeIcon("/mActionDeleteSelected.svg"))
        self.clear_button.setToolTip(tr("Take the preview off the map"))
        self.clear_button.clicked.connect(self._clear)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.bar.setTextVisible(False)
        self.bar.setMaximumHeight(6)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.run_button = QPushButton()
        self.run_button.setObjectName("GeoSegRun")
        self.run_button.clicked.connect(self.start_run)
        self.more = self._more_button()
        previews, runs = QHBoxLayout(), QHBoxLayout()
        previews.addWidget(self.preview_button, 1)
        previews.addWidget(self.clear_button)
        runs.addWidget(self.run_button, 1)
        runs.addWidget(self.more)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(self.hint)
        layout.addWidget(scroll, 1)
        layout.addLayout(previews)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)
        layout.addLayout(runs)

    def _more_button(self) -> QToolButton:
        button = QToolButton()
        button.setText("…")
        button.setToolTip(tr("Copy the run as a command, or open it in its dialog"))
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.addAction(tr("Copy as Python Command"), self.copy_python)
        menu.addAction(tr("Copy as qgis_process Command"), self.copy_process)
        menu.addAction(tr("Open in the Dialog…"), self.open_dialog)
        button.setMenu(menu)
        return button

    def copy_python(self) -> None:
        """Copy the run as lines of Python."""
        lines = []
        for identifier, values in self.steps():
            algorithm = QgsApplication.processingRegistry().algorithmById(identifier)
            lines.append(algorithm.asPythonCommand(values, QgsProcessingContext()))
        QgsApplication.clipboard().setText("\n".join(lines))

    def copy_process(self) -> None:
        """Copy the run as lines for a shell; results go into the folder where it is run."""
        image = self._context.image()
        files = {"OUTPUT": "classes.tif", "POLYGONS": "polygons.gpkg", "SCORES": "scores.tif"}
        files["INPUT"] = image.source() if image is not None else ""
        lines = [
            process_command(name, {key: files.get(key, value) for key, value in values.items()})
            for name, values in self.steps()
        ]
        QgsApplication.clipboard().setText("\n".join(lines))

    def open_dialog(self) -> None:
        """Open the dialog of the algorithm with what is set here."""
        self._understand()
        identifier, values = self._algorithm()
        extent = self._context.area()
        if extent is not None:
            values["EXTENT"] = extent
        dialog = processing.createAlgorithmDialog(identifier, values)
        if dialog is not None:
            dialog.show()

    def _algorithm(self) -> Tuple[str, Dict[str, Any]]:
        image = self._context.image()
        values: Dict[str, Any] = {"INPUT": image.id() if image is not None else ""}
        is_list = self._meaning.kind is Kind.CLASSES
        if is_list:
            values["CLASSES"] = format_classes(tuple(self.rows.classes()))
        else:
            values["INSTRUCTION"] = self.text.toPlainText().strip()
        methods = _methods(OPEN_VOCABULARY if is_list else REFER)
        model = next((one for one in self._state.models if one.name == self._context.model()), None)
        if model is not None and set(model.methods) & set(methods):
            values["MODEL"] = model.name
        return (OPEN_VOCABULARY if is_list else REFER), values

    def _problem(self) -> str:
        if self._context.image() is None:
            return tr("Choose the imagery to look at.")
        if self._meaning.kind is Kind.NOTHING:
            return tr("Write what to find: classes with semicolons, or one sentence.")
        return self._meaning.problem

    def _names(self) -> List[str]:
        return [item.name for item in self._meaning.classes]

    def _image_name(self) -> str:
        image = self._context.image()
        return str(image.name()) if image is not None else ""

    def _short_text(self) -> str:
        if self._meaning.kind is Kind.CLASSES:
            names = self._names()
            return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        return str(self.text.toPlainText().strip())

    def _read_card(self) -> None:
        folder = Settings.read().model_folder
        self._card = read_card(self._context.model(), [Path(folder)] if folder else ())
        self._understand()

    def _image_changed(self) -> None:
        self.preview.cancel()
        self.preview.clear()
        self._preview_ended("")
        self._say("")

    def _understand(self) -> None:
        """Show what the text means."""
        self._typing.stop()
        self._meaning = meaning = understand(self.text.toPlainText(), self._card)
        is_list = meaning.kind is Kind.CLASSES
        self.text.vocabulary = self._card.classes if is_list else self._completing()
        self.text.mark(meaning.unknown)
        if meaning.kind is Kind.SENTENCE:
            self.rows.show_classes([LegendClass(1, (tr("result"),), _COLOR)], _HALF)
        elif not meaning.problem:
            self.rows.show_classes(meaning.classes)
        self._show_hint()
        self._show_run()

    def _completing(self) -> Any:
        # A text that has just begun is a sentence until its first word is a known class.
        return self._card.classes

    def _show_hint(self) -> None:
        meaning = self._meaning
        lines = []
        if meaning.problem:
            lines.append(_orange(meaning.problem))
        elif meaning.kind is Kind.CLASSES:
            lines.append(tr("Classes: {}").format(len(meaning.classes)))
        elif meaning.kind is Kind.SENTENCE:
            lines.append(tr("One instruction. Separate classes with semicolons."))
        if meaning.unknown:
            text = self.text.toPlainText()
            words = [text[start : start + length] for start, length in meaning.unknown]
            is_list = meaning.kind is Kind.CLASSES
            vocabulary = self._card.classes if is_list else self._card.sentences
            similar = sorted({near for word in words for near in vocabulary.similar(word)})
            note = tr("The model does not know {}: its result is a guess.")
            lines.append(_orange(note.format(", ".join(dict.fromkeys(words)))))
            if similar:
                lines.append(tr("Words it knows: {}.").format(", ".join(similar)))
        self.hint.setText("<br>".join(lines))
        self.hint.setVisible(bool(lines))

    def _show_run(self) -> None:
        kind = self._context.area_kind()
        places = {
            VISIBLE_AREA: tr("Run on the visible area"),
            WHOLE_LAYER: tr("Run on the whole layer"),
            SELECTED_POLYGON: tr("Run on the selected polygon"),
        }
        seconds = self.preview.estimate(kind)
        about = "" if seconds is None else " " + tr("(about {})").format(duration(seconds))
        self.run_button.setText(places[kind] + about)

    def _preview_ended(self, problem: str) -> None:
        self.bar.setVisible(False)
        self.preview_button.setText(tr("Preview"))
        if problem:
            self._say(problem, warns=True)
        elif self.preview.has_scores:
            self._show_preview()
            area = self.preview.area
            text = tr("Preview of the visible area. Move the sliders to change it.")
            if area is not None and area.is_part:
                text = tr("Preview of the middle, {:,.0f} m x {:,.0f} m. Move the sliders.").format(
                    *area.metres
                )
            self._say(text)
        self._show_run()

    def _show_progress(self, done: float) -> None:
        self.bar.setValue(round(100 * done))

    def _show_preview(self) -> None:
        colors = [item.color for item in self.rows.classes()]
        self.preview.show(colors, self.rows.thresholds())

    def _clear(self) -> None:
        self.preview.cancel()
        self.preview.clear()
        self._preview_ended("")
        self._say("")

    def _say(self, text: str, *, warns: bool = False) -> None:
        self.message.setText(_orange(text) if warns and text else text)

    def _next(
        self,
        fine: bool,
        results: Dict[str, Any],
        steps: List[Tuple[str, Dict[str, Any]]],
        title: str,
    ) -> None:
        """Apply the thresholds to the scores of the first step."""
        if not fine or not steps:
            return
        identifier, values = steps[0]
        values = {**values, "SCORES": results["SCORES"]}
        problem = self._runner.check(identifier, values)
        if problem:
            self._say(problem, warns=True)
        else:
            self._runner.start(identifier, values, title)


def _methods(identifier: str) -> Tuple[str, ...]:
    """Return the words of the parameter METHOD of an algorithm."""
    algorithm = QgsApplication.processingRegistry().algorithmById(identifier)
    definition = algorithm.parameterDefinition("METHOD") if algorithm is not None else None
    return tuple(definition.options()) if definition is not None else ()


def _orange(text: str) -> str:
    return f'<span style="color:{UNKNOWN.name()}">{text}</span>'


def _timer(parent: QWidget, milliseconds: int, slot: Any) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer
