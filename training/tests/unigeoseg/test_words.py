"""The small tokenizer and its word vectors."""

from __future__ import annotations

from pathlib import Path

import torch

from geoseg_qgis.engine.models.unigeoseg.tokenizer import BytePairTokenizer, load_tokenizer
from training.unigeoseg.words import initial_embeddings


def test_known_words_are_one_piece_each(tokenizer: BytePairTokenizer, tmp_path: Path) -> None:
    assert len(tokenizer.encode(" all buildings with a red roof")) == 6
    assert tokenizer.encode("All Buildings") == tokenizer.encode("all buildings")
    assert len(tokenizer.encode(" zeppelin")) > 1
    assert len(tokenizer.encode("[0.494,1]")) == 8
    assert tokenizer.encode("[SEG]") == [tokenizer.segmentation_id]
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    read = load_tokenizer(tmp_path)
    assert read.encode("the road [SEG]") == tokenizer.encode("the road [SEG]")


def test_digits_begin_as_the_positions_they_name(tokenizer: BytePairTokenizer) -> None:
    table = initial_embeddings(tokenizer, 64, torch.Generator().manual_seed(0))
    rows = [tokenizer.encode(text)[0] for text in ("25", "26", "75", "5", "50")]
    near, far = (table[rows[0]] - table[rows[index]] for index in (1, 2))
    assert near[:4].norm() < 0.2 * far[:4].norm()
    assert torch.equal(table[rows[3]][:12], table[rows[4]][:12])
