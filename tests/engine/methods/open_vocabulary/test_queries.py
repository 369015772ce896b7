"""Class files, prompts and text ensemble against recorded numbers."""

from __future__ import annotations

import open_clip
import pytest
import torch
from gumix_facts import read_facts, read_json
from open_clip import CLIP

from geoseg_qgis.engine.methods.open_vocabulary.queries import (
    ClassQueries,
    encode_queries,
    ensemble,
    imagenet_prompts,
)
from tests.reference.gumix_paper import queries_from_lines

PARSING = read_json("class_parsing")


@pytest.fixture(scope="module")
def tokenizer() -> open_clip.tokenizer.SimpleTokenizer:
    return open_clip.tokenizer.SimpleTokenizer(context_length=77)


@pytest.mark.parametrize("name", PARSING)
def test_class_files(name: str) -> None:
    case = PARSING[name]
    text = case.get("file_text", "\n".join(case["queries"]) + "\n")
    parsed = queries_from_lines(text)
    assert list(parsed.queries) == case["queries"]
    assert list(parsed.class_index) == case["class_index"]


def test_synonyms() -> None:
    parsed = ClassQueries.from_synonyms([["building", "roof"], ["road"]])
    assert parsed == ClassQueries(("building", "roof", "road"), (0, 0, 1))
    assert parsed.class_count == 2
    with pytest.raises(ValueError, match="at least one text"):
        ClassQueries.from_synonyms([["building"], []])


def test_prompt_ids(tokenizer: open_clip.tokenizer.SimpleTokenizer) -> None:
    queries = PARSING["cls_loveda.txt"]["queries"]
    expected = read_facts("text_ensemble")["tokens"]
    for query, ids in zip(queries, expected, strict=True):
        prompts = imagenet_prompts(query)
        assert len(prompts) == 80
        assert torch.equal(tokenizer(prompts), ids)


@pytest.mark.parametrize("name", sorted(read_facts("token_ids_a_photo_of")))
def test_word_ids(name: str, tokenizer: open_clip.tokenizer.SimpleTokenizer) -> None:
    queries = PARSING.get(f"cls_{name}.txt", {}).get("queries", ["background", "road"])
    ids = tokenizer([f"a photo of a {query}." for query in queries])[:, :20]
    expected = read_facts("token_ids_a_photo_of")[name]
    assert torch.equal(ids[: len(expected)], expected)


def test_ensemble(clip: CLIP, tokenizer: open_clip.tokenizer.SimpleTokenizer) -> None:
    facts = read_facts("text_ensemble")
    torch.testing.assert_close(
        ensemble(facts["raw_text_features"]), facts["query_features"], atol=1e-6, rtol=0
    )
    queries = queries_from_lines("\n".join(PARSING["cls_loveda.txt"]["queries"]))
    assert list(queries.class_index) == facts["query_idx"].tolist()
    features = encode_queries(clip, tokenizer, queries.queries, batch_size=33)
    torch.testing.assert_close(features, facts["query_features"], atol=1e-5, rtol=0)
