import gzip

from open_clip import SimpleTokenizer

from training.bytepair import learn_merges, write_merges
from training.vocabulary import corpus_words


def test_every_known_word_is_one_piece(tmp_path):
    words = corpus_words()
    file = tmp_path / "bpe.txt.gz"
    merges = learn_merges(words)
    write_merges(file, merges)
    tokenizer = SimpleTokenizer(str(file), context_length=16)
    assert tokenizer.vocab_size == 512 + len(merges) + 2
    assert {len(tokenizer.encode(word)) for word in words} == {1}
    assert len(tokenizer.encode("zeppelin")) > 3
    assert tokenizer("road")[0, :3].tolist() == [
        tokenizer.sot_token_id,
        *tokenizer.encode("road"),
        tokenizer.vocab_size - 1,
    ]


def test_the_file_is_the_same_every_time_and_has_no_final_newline(tmp_path):
    first, second = tmp_path / "a.gz", tmp_path / "b.gz"
    merges = learn_merges(["road", "roof", "broad"])
    write_merges(first, merges)
    write_merges(second, merges)
    assert first.read_bytes() == second.read_bytes()
    lines = gzip.decompress(first.read_bytes()).decode().split("\n")
    assert lines[0] == "#version: 1"
    assert lines[1] == "r o"
    assert lines[-1]
