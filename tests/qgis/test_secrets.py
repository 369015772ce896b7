"""Keys in the sources of layers stay out of history, messages and the report."""

from __future__ import annotations

import pytest
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
)

WORD = "q7Zx2mK9vT4b"
SOURCES = (
    f"/vsicurl/https://files.example/ortho.tif?api_key={WORD}",
    f"/vsicurl?header.Authorization=Bearer%20{WORD}&url=https%3A%2F%2Ffiles.example%2Fa.tif",
    f"type=xyz&url=https://jo:{WORD}@t.example/%7Bz%7D?key%3D{WORD}&authcfg={WORD}",
)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["openvocabulary", "refer", "assess"])
def test_history_has_no_keys(provider, source: str, name: str) -> None:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"geoseg:{name}")
    values = {"INPUT": source, "OUTPUT": "a.tif", "CLASSES": "road; water"}
    context = QgsProcessingContext()
    kept = [algorithm.asPythonCommand(values, context)]
    if hasattr(QgsProcessingAlgorithm, "asQgisProcessCommand"):
        kept.append(algorithm.asQgisProcessCommand(values, context)[0])
        kept.append(str(algorithm.asMap(values, context)))
    for text in kept:
        assert WORD not in text
        assert "***" in text


def test_errors_and_logs_have_no_keys(provider, tmp_path) -> None:
    import processing

    feedback = QgsProcessingFeedback()
    source = f"/vsicurl/http://127.0.0.1:9/ortho.tif?api_key={WORD}"
    with pytest.raises(QgsProcessingException) as caught:
        processing.run(
            "geoseg:reclassify",
            {"INPUT": source, "THRESHOLD": "0.5", "OUTPUT": str(tmp_path / "a.tif")},
            feedback=feedback,
        )
    assert WORD not in str(caught.value)
    assert WORD not in feedback.textLog()


def test_report_for_help_has_no_keys(provider, tmp_path, monkeypatch) -> None:
    from geoseg_qgis.gui.report import diagnostics_report

    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    (tmp_path / "logs").mkdir()
    line = f"cannot open https://jo:{WORD}@files.example/a.tif?token={WORD}"
    (tmp_path / "logs" / "engine.log").write_text(line, encoding="utf-8")
    report = diagnostics_report()
    assert "cannot open https://***@files.example/a.tif?token=***" in report
    assert WORD not in report
