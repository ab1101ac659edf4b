"""Signed notes against the published key and note of golang.org/x/mod/sumdb/note, and against garbage."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.ledger import note
from ccn.core.ledger.signed import Check

if TYPE_CHECKING:
    from tests.support.core.keys import Pair, Pairs

PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
PETER = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyB"
    "wJnAM=\n"
)
ENOCH = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc"
    "+QQ=\n"
)


def key_from_text(text: str) -> note.NoteKey:
    """A published verifier key: a name, four bytes of its hash, and kind and key in base64."""
    name, _, encoded = text.split("+", 2)
    kind, *public = base64.b64decode(encoded)
    return note.NoteKey(name, note.KeyKind(kind), bytes(public))


def opened(text: str) -> note.Note:
    return note.parse_note(text.encode())


def test_the_published_note_is_verified_by_the_published_key(check: Check) -> None:
    peter, read = key_from_text(PETER_KEY), opened(TEXT + "\n" + PETER + ENOCH)
    assert note.verify_note(read, [peter], check) == {peter: None}
    assert read.text == TEXT
    assert [line.name for line in read.signatures] == ["PeterNeumann", "EnochRoot"]


def test_both_published_signatures_are_verified_at_once(check: Check) -> None:
    keys = [key_from_text(PETER_KEY), key_from_text(ENOCH_KEY)]
    assert list(note.verify_note(opened(TEXT + "\n" + PETER + ENOCH), keys, check)) == keys


def test_the_published_seed_makes_the_published_note(seeded: Callable[[bytes], Pair]) -> None:
    peter = key_from_text(PETER_KEY)
    assert seeded(PETER_SEED).public == peter.public
    line = note.Signature(peter.name, peter.id, seeded(PETER_SEED).sign(TEXT.encode()))
    assert note.Note(TEXT, (line,)).to_bytes().decode() == TEXT + "\n" + PETER


def test_the_id_of_a_key_is_the_published_one() -> None:
    assert key_from_text(PETER_KEY).id.hex() == "c74f20a3"


def test_signatures_of_unknown_keys_count_nothing(check: Check) -> None:
    assert note.verify_note(opened(TEXT + "\n" + PETER), [key_from_text(ENOCH_KEY)], check) == {}
    assert note.verify_note(opened(TEXT + "\n" + PETER), [], check) == {}


def test_a_repeated_signature_counts_once(check: Check) -> None:
    assert len(note.verify_note(opened(TEXT + "\n" + PETER * 3), [key_from_text(PETER_KEY)], check)) == 1


def test_a_wrong_signature_condemns_the_note_even_after_a_right_one(check: Check) -> None:
    wrong = PETER.replace("ZJku", "ZJkv")
    for lines in (wrong + PETER, PETER + wrong):
        with pytest.raises(errors.SignatureInvalid):
            note.verify_note(opened(TEXT + "\n" + lines), [key_from_text(PETER_KEY)], check)


def test_a_wrong_signature_under_a_known_key_condemns_the_note(check: Check) -> None:
    keys = [key_from_text(PETER_KEY), key_from_text(ENOCH_KEY)]
    for altered in (TEXT.replace("problem", "Problem", 1), TEXT + "\n", "\n" + TEXT):
        with pytest.raises(errors.SignatureInvalid):
            note.verify_note(opened(altered + "\n" + PETER), keys, check)
    with pytest.raises(errors.SignatureInvalid):
        note.verify_note(opened(TEXT + "\n" + PETER + ENOCH[:60] + "ABCD" + ENOCH[60:]), keys, check)


def test_two_keys_that_cannot_be_told_apart_are_refused(check: Check) -> None:
    class Double(note.NoteKey):
        @property
        def id(self) -> bytes:
            return b"same"

    keys = [Double("a", note.KeyKind.ED25519, bytes([n]) * 32) for n in range(2)]
    with pytest.raises(errors.InputInvalid):
        note.verify_note(note.Note(TEXT), keys, check)


@pytest.mark.parametrize(
    "malformed",
    [
        TEXT,
        TEXT + "\n",
        TEXT + PETER,
        TEXT + "\n" + PETER[:-1],
        TEXT + "\n" + PETER + "\n",
        "\x01" + TEXT + "\n" + PETER,
        TEXT.replace("\n", "\r\n") + "\n" + PETER,
        TEXT + "\n" + PETER * 101,
        TEXT + "\n" + PETER.replace("PeterNeumann", "Peter Neumann"),
        TEXT + "\n" + PETER.replace("PeterNeumann", "Peter\u00a0Neumann"),
        TEXT + "\n" + PETER.replace("PeterNeumann", "Peter+Neumann"),
        TEXT + "\n" + PETER.replace("PeterNeumann", ""),
        TEXT + "\n" + PETER.replace("—", "-"),
        TEXT + "\n" + PETER.replace("=", ""),
        TEXT + "\n" + PETER.replace("M=", "N="),
        TEXT + "\n" + PETER.replace("x08", "x0-"),
        TEXT + "\n" + "— PeterNeumann x08gow==\n",
        TEXT + "\n" + PETER + "Unexpected line.\n",
        TEXT + "\n" + PETER.replace(" x08", "  x08"),
        "x" * note.NOTE_LIMIT + "\n\n" + PETER,
        "",
        "\n",
    ],
)
def test_a_note_that_is_not_written_the_one_way_is_refused(malformed: str) -> None:
    with pytest.raises(errors.InputInvalid):
        opened(malformed)


@given(data=st.binary(max_size=200) | st.text(alphabet="— ab+/=\n\x00é", max_size=80).map(str.encode))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    try:
        read = note.parse_note(data)
    except errors.InputInvalid:
        return
    assert read.to_bytes() == data


@given(
    text=st.text(alphabet=st.characters(min_codepoint=32, exclude_categories=["Cs"])).map(
        lambda t: t + "\n"
    ),
    names=st.lists(st.from_regex(r"[a-z./é-]{1,20}", fullmatch=True), min_size=1, max_size=9),
    data=st.binary(min_size=1, max_size=80),
)
def test_a_note_is_read_as_it_was_written(text: str, names: list[str], data: bytes) -> None:
    written = note.Note(text, tuple(note.Signature(name, b"abcd", data) for name in names))
    assert note.parse_note(written.to_bytes()) == written


def test_a_text_without_an_end_is_no_note() -> None:
    with pytest.raises(errors.InputInvalid):
        note.Note("no newline")


def test_a_key_under_an_impossible_name_is_refused() -> None:
    for name, public in (("", b"k" * 32), ("a b", b"k" * 32), ("a+b", b"k" * 32), ("a", b"k" * 31)):
        with pytest.raises(errors.InputInvalid):
            note.NoteKey(name, note.KeyKind.ED25519, public)


@given(at_s=st.integers(0, 2**63 - 1))
def test_a_cosignature_says_when_and_holds_for_no_other_second(
    at_s: int, pair: Pairs, check: Check
) -> None:
    witness = pair("witness")
    key = note.NoteKey("witness.example.com/w1", note.KeyKind.COSIGNATURE, witness.public)
    line = note.cosign_note(TEXT, key, at_s, witness.sign)
    assert note.verify_note(note.Note(TEXT, (line,)), [key], check) == {key: at_s}
    shifted = note.Signature(line.name, line.key_id, (at_s ^ 1).to_bytes(8, "big") + line.data[8:])
    with pytest.raises(errors.SignatureInvalid):
        note.verify_note(note.Note(TEXT, (shifted,)), [key], check)


def test_a_cosignature_signs_the_published_message(pair: Pairs) -> None:
    signed: list[bytes] = []

    def sign(message: bytes) -> bytes:
        signed.append(message)
        return b"s" * 64

    key = note.NoteKey("witness.example.com/w1", note.KeyKind.COSIGNATURE, pair("witness").public)
    note.cosign_note("example.com/behind-the-sofa\n", key, 1679315147, sign)
    assert signed == [b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n"]


def test_a_cosignature_beyond_the_end_of_time_is_refused(pair: Pairs, check: Check) -> None:
    witness = pair("witness")
    key = note.NoteKey("w", note.KeyKind.COSIGNATURE, witness.public)
    with pytest.raises(errors.InputInvalid):
        note.cosign_note(TEXT, key, 1 << 63, witness.sign)
    late = (1 << 63).to_bytes(8, "big") + witness.sign(f"cosignature/v1\ntime {1 << 63}\n{TEXT}".encode())
    with pytest.raises(errors.SignatureInvalid):
        note.verify_note(note.Note(TEXT, (note.Signature("w", key.id, late),)), [key], check)


def test_a_signature_and_a_cosignature_of_one_key_never_stand_for_each_other(
    pair: Pairs, check: Check
) -> None:
    node = pair("node")
    plain = note.NoteKey("n", note.KeyKind.ED25519, node.public)
    timed = note.NoteKey("n", note.KeyKind.COSIGNATURE, node.public)
    assert plain.id != timed.id
    with pytest.raises(errors.InputInvalid):
        note.cosign_note(TEXT, plain, 1, node.sign)
    relabelled = note.Signature("n", plain.id, note.cosign_note(TEXT, timed, 1, node.sign).data)
    with pytest.raises(errors.SignatureInvalid):
        note.verify_note(note.Note(TEXT, (relabelled,)), [plain], check)
