"""Checkpoints (c2sp.org/tlog-checkpoint): size and root of the tree, in a note that nodes cosign.

A checkpoint is final once a quorum of the validators cosigned it, whatever a database shows later.
Witnesses outside the cluster may cosign the same note. Their keys do not count toward the quorum.
A node's key makes cosignatures and votes. It never signs a bare note.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ccn import errors
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import merkle, note
from ccn.core.ledger.signed import Check, Sign

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the tree of one log. The origin names the log."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse values that do not fit the three lines of a checkpoint."""
        check_origin(self.origin)
        if not 0 <= self.size < 1 << 63 or len(self.root) != merkle.HASH_BYTES:
            raise errors.InputInvalid(f"{self.size} leaves and {len(self.root)} bytes make no checkpoint")

    def text(self) -> str:
        """Return the three lines that are signed. This log writes no extension lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def is_final(head: note.Note, rules: Rules, check: Check) -> bool:
    """Return whether a quorum of the validators in `rules` cosigned this checkpoint."""
    origin = parse_checkpoint(head.text).origin
    keys = [cosigner_key(origin, validator.node, validator.key) for validator in rules.validators]
    return len(find_cosigners(head, keys, check)) >= rules.quorum


def find_cosigners(head: note.Note, keys: Sequence[note.NoteKey], check: Check) -> dict[note.NoteKey, int]:
    """Return those of the keys that cosigned the checkpoint, each with the second in which it did."""
    times = note.verify_note(head, keys, check)
    return {key: at_s for key, at_s in times.items() if at_s is not None}


def cosign(head: Checkpoint, node: NodeId, public: bytes, at_s: int, sign: Sign) -> note.Signature:
    """Sign the line with which a node stands for this checkpoint.

    Save that the node does so before you call this.
    """
    return note.cosign_note(head.text(), cosigner_key(head.origin, node, public), at_s, sign)


def cosigner_key(origin: str, node: NodeId, public: bytes) -> note.NoteKey:
    """Return the key of a node as it appears below the checkpoints of its log."""
    return note.NoteKey(f"{origin}/{node}", note.KeyKind.COSIGNATURE, public)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint. Extension lines are refused, because no auditor could check them."""
    lines = text.split("\n")
    if len(lines) != 4 or not _SIZE.fullmatch(lines[1]):
        raise errors.InputInvalid("a checkpoint has three lines: origin, size and root")
    try:
        parsed = Checkpoint(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
    except (binascii.Error, ValueError):
        raise errors.InputInvalid("the root of a checkpoint is 32 bytes in base64") from None
    if parsed.text() != text:
        raise errors.InputInvalid("the checkpoint is not written the one way it can be")
    return parsed


def check_origin(text: str) -> str:
    """Check the name of a log: a URL without scheme, such as example.com/ccn."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9])?", text):
        raise errors.InputInvalid(
            f"the origin {text!r} is not a URL without scheme of up to 200 characters"
        )
    return text
