"""Checkpoints and their cosignatures against the examples of c2sp.org, and against hostile input."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccn import errors
from ccn.core.chain import checkpoint
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import note
from ccn.core.ledger.signed import Check

if TYPE_CHECKING:
    from tests.support.core.keys import Pairs

PUBLISHED_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
PUBLISHED = (
    PUBLISHED_TEXT + "\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9"
    "nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZq"
    "hf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
HEAD = checkpoint.Checkpoint("ccn.example/prod", 42, b"r" * 32)


def test_the_published_checkpoint_is_read_and_written() -> None:
    read = checkpoint.parse_checkpoint(note.parse_note(PUBLISHED.encode()).text)
    assert (read.origin, read.size) == ("example.com/behind-the-sofa", 20852163)
    assert read.text() == PUBLISHED_TEXT


def test_the_published_cosignature_has_the_published_layout() -> None:
    log, witness = note.parse_note(PUBLISHED.encode()).signatures
    assert (log.key_id.hex(), len(log.data)) == ("033de0ae", 64)
    assert (witness.key_id.hex(), len(witness.data)) == ("8d66cf3f", 72)
    assert int.from_bytes(witness.data[:8], "big") == 1679315147
    assert note.parse_note(PUBLISHED.encode()).to_bytes() == PUBLISHED.encode()


@given(size=st.integers(0, 2**63 - 1), root=st.binary(min_size=32, max_size=32))
def test_a_checkpoint_is_read_as_it_was_written(size: int, root: bytes) -> None:
    head = checkpoint.Checkpoint("ccn.example/prod", size, root)
    assert checkpoint.parse_checkpoint(head.text()) == head


@pytest.mark.parametrize(
    "text",
    [
        PUBLISHED_TEXT + "extension\n",
        PUBLISHED_TEXT[:-1],
        PUBLISHED_TEXT.replace("20852163", "020852163"),
        PUBLISHED_TEXT.replace("20852163", "-1"),
        PUBLISHED_TEXT.replace("20852163", "+1"),
        PUBLISHED_TEXT.replace("20852163", "٣"),
        PUBLISHED_TEXT.replace("20852163", "9" * 19),
        PUBLISHED_TEXT.replace("20852163", "1_000"),
        PUBLISHED_TEXT.replace("CsUY", "CsU"),
        PUBLISHED_TEXT.replace("q2I=", "q2J="),
        PUBLISHED_TEXT.replace("CsUYapGG", ""),
        PUBLISHED_TEXT.replace("example.com/", "a b"),
        "\n1\n" + base64.b64encode(b"r" * 32).decode() + "\n",
        "",
    ],
)
def test_a_checkpoint_that_is_not_written_the_one_way_is_refused(text: str) -> None:
    with pytest.raises(errors.InputInvalid):
        checkpoint.parse_checkpoint(text)


@given(text=st.text(max_size=60) | st.text(alphabet="a/1=\n", max_size=60))
def test_any_text_is_a_checkpoint_or_refused(text: str) -> None:
    try:
        read = checkpoint.parse_checkpoint(text)
    except errors.InputInvalid:
        return
    assert read.text() == text


def test_the_nodes_that_cosigned_are_found_and_witnesses_are_left_alone(pair: Pairs, check: Check) -> None:
    nodes = [NodeId("node-1"), NodeId("node-2"), NodeId("node-3")]
    keys = [checkpoint.cosigner_key(HEAD.origin, node, pair(node).public) for node in nodes]
    lines = [checkpoint.cosign(HEAD, node, pair(node).public, 7, pair(node).sign) for node in nodes[:2]]
    outside = note.NoteKey("witness.example/w", note.KeyKind.COSIGNATURE, pair("w").public)
    served = note.Note(HEAD.text(), (*lines, note.cosign_note(HEAD.text(), outside, 9, pair("w").sign)))
    assert checkpoint.find_cosigners(note.parse_note(served.to_bytes()), keys, check) == {
        keys[0]: 7,
        keys[1]: 7,
    }


@pytest.mark.parametrize(("signers", "final"), [((1, 2), False), ((1, 2, 3), True), ((1, 1, 1, 2), False)])
def test_a_checkpoint_is_final_once_a_quorum_cosigned_it(
    pair: Pairs, rules: Callable[..., Rules], check: Check, signers: tuple[int, ...], final: bool
) -> None:
    four = rules([f"node-{number}" for number in range(1, 5)])
    nodes = [NodeId(f"node-{number}") for number in signers]
    lines = [checkpoint.cosign(HEAD, n, pair(n).public, at, pair(n).sign) for at, n in enumerate(nodes)]
    stranger = checkpoint.cosign(HEAD, NodeId("x"), pair("x").public, 7, pair("x").sign)
    assert checkpoint.is_final(note.Note(HEAD.text(), (*lines, stranger)), four, check) == final


def test_a_node_cannot_cosign_for_another(pair: Pairs, check: Check) -> None:
    key = checkpoint.cosigner_key(HEAD.origin, NodeId("node-2"), pair("node-2").public)
    forged = note.Signature(
        key.name, key.id, note.cosign_note(HEAD.text(), key, 7, pair("node-1").sign).data
    )
    with pytest.raises(errors.SignatureInvalid):
        checkpoint.find_cosigners(note.Note(HEAD.text(), (forged,)), [key], check)


def test_a_cosignature_holds_for_no_other_log_size_or_root(pair: Pairs, check: Check) -> None:
    node = NodeId("node-1")
    key = checkpoint.cosigner_key(HEAD.origin, node, pair(node).public)
    line = checkpoint.cosign(HEAD, node, pair(node).public, 7, pair(node).sign)
    for other in (
        checkpoint.Checkpoint("ccn.example/test", 42, b"r" * 32),
        checkpoint.Checkpoint(HEAD.origin, 43, b"r" * 32),
        checkpoint.Checkpoint(HEAD.origin, 42, b"s" * 32),
    ):
        with pytest.raises(errors.SignatureInvalid):
            checkpoint.find_cosigners(note.Note(other.text(), (line,)), [key], check)


@pytest.mark.parametrize("size", [-1, 1 << 63])
def test_a_size_that_no_tree_has_is_refused(size: int) -> None:
    with pytest.raises(errors.InputInvalid):
        checkpoint.Checkpoint("ccn.example/prod", size, b"r" * 32)
