"""Plain data out of untrusted files."""

from __future__ import annotations

import pickle

import pytest

from training.unigeoseg.plain_pickle import PlainPickleError, read_plain_pickle

# [{"split": "test", "ann_id": 8}, {"ann_id": 9}] in the older text form.
TEXT = b"(lp0\n(dp1\nVsplit\np2\nVtest\np3\nsVann_id\np4\nI8\nsa(dp5\ng4\nI9\nsa."
# [{"split": "train", "w": (1, 2.5, None, True, -70000, 2**40)}] in the binary form.
BINARY = (
    b"\x80\x02]q\x00}q\x01(X\x05\x00\x00\x00splitq\x02X\x05\x00\x00\x00trainq\x03"
    b"X\x01\x00\x00\x00wq\x04(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88J\x90\xee\xfe\xff"
    b"\x8a\x06\x00\x00\x00\x00\x00\x01tq\x05ua."
)


def test_plain_data() -> None:
    assert read_plain_pickle(BINARY) == [
        {"split": "train", "w": (1, 2.5, None, True, -70000, 2**40)}
    ]
    assert read_plain_pickle(TEXT) == [{"split": "test", "ann_id": 8}, {"ann_id": 9}]


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"",
        b"(lp0\n",
        b"a.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00x.",
        b"Pname\n.",
        pickle.dumps(PlainPickleError),
        pickle.dumps(range(3), protocol=5),
    ],
)
def test_code_and_damage_are_refused(content: bytes) -> None:
    with pytest.raises(PlainPickleError):
        read_plain_pickle(content)
