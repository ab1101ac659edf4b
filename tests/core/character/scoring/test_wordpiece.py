"""Words are cut as encoders of the BERT family were trained on them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccn import errors
from ccn.core.character.scoring import wordpiece
from ccn.core.character.scoring.wordpiece import Vocabulary

PIECES = re.findall(
    r"\S+",
    """
    [PAD] [UNK] [CLS] [SEP] un ##aff ##able ##a want ##ed runn ##ing , ! ' naive hello 日 本 low ##er lower
    """,
)
VOCABULARY = wordpiece.vocabulary_from_list("\n".join(PIECES) + "\n")


def cut(text: str, vocabulary: Vocabulary = VOCABULARY) -> list[str]:
    return [PIECES[number] for number in wordpiece.encode_text(vocabulary, text)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("UNwanted,running", ["[UNK]", ",", "runn", "##ing"]),
        ("wanted running!", ["want", "##ed", "runn", "##ing", "!"]),
        ("naïve", ["naive"]),
        ("lower low", ["lower", "low"]),
        ("hello日本hello", ["hello", "日", "本", "hello"]),
        ("hel\u200blo\x00 \ufffdhello", ["hello", "hello"]),
        (" \t\n ", []),
        ("x" * 101, ["[UNK]"]),
        ("unaffablex", ["[UNK]"]),
    ],
)
def test_the_longest_known_pieces_are_taken(text: str, pieces: list[str]) -> None:
    assert cut(text) == ["[CLS]", *pieces, "[SEP]"]


def test_a_long_text_is_cut_at_its_end_and_still_framed() -> None:
    found = cut("hello " * 1000)
    assert len(found) == wordpiece.MOST
    assert (found[0], found[1], found[-2], found[-1]) == ("[CLS]", "hello", "hello", "[SEP]")


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_every_text_has_numbers_that_the_vocabulary_knows(text: str) -> None:
    found = wordpiece.encode_text(VOCABULARY, text)
    assert 2 <= len(found) <= wordpiece.MOST
    assert set(found) <= set(range(len(PIECES)))


def test_a_cased_vocabulary_keeps_capitals() -> None:
    cased = Vocabulary(VOCABULARY.numbers, cased=True)
    assert cut("Hello", cased) == ["[CLS]", "[UNK]", "[SEP]"]
    assert cut("Hello") == ["[CLS]", "hello", "[SEP]"]


def test_both_files_lead_to_the_same_vocabulary() -> None:
    def told(*, lowercase: bool) -> str:
        normalizer = {"type": "BertNormalizer", "lowercase": lowercase}
        model = {"type": "WordPiece", "vocab": dict(VOCABULARY.numbers)}
        return json.dumps({"normalizer": normalizer, "model": model})

    assert wordpiece.vocabulary_from_json(told(lowercase=True)) == VOCABULARY
    assert wordpiece.vocabulary_from_json(told(lowercase=False)).cased


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"model": 5}', '{"model": {"vocab": []}}', '{"model": {"vocab": {"a": "x"}}}',
     '{"model": {"type": "BPE", "vocab": {}}}', '{"model": {"vocab": {}}, "normalizer": {"type": "NFC"}}',
     '{"model": {"vocab": {"a": 1}}}'],
)  # fmt: skip
def test_another_tokenizer_is_refused(content: str) -> None:
    with pytest.raises(errors.InputInvalid):
        wordpiece.vocabulary_from_json(content)
